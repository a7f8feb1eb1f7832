//! Decodes the samples that are not part of the project, where they are at hand: in `TOLLWATCH_SHARED`, else in `../shared` beside it.

use std::path::PathBuf;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, UInt16Type};
use connectors::event::DecodedBatch;
use connectors::format::{Decoder, Format, SourceRecord};

/// A file of samples, what it is, how many events it has, the first of them, and why others are rejected.
struct Sample {
    name: &'static str,
    format: Format,
    n_events: usize,
    first: &'static [&'static str],
    rejects: &'static [&'static str],
}

/// Tests of somebody's rules, which need no method or no path.
const WITHOUT_METHOD: [&str; 7] = [
    "missing_field: httpRequest.uri",
    "missing_field: httpRequest.uri",
    "missing_field: httpRequest.uri",
    "missing_field: httpRequest.httpMethod",
    "missing_field: httpRequest.httpMethod",
    "missing_field: httpRequest.httpMethod",
    "missing_field: httpRequest.uri",
];

const SAMPLES: &[Sample] = &[
    Sample {
        name: "aws-apigateway-rest.ndjson",
        format: Format::AwsApiGateway,
        n_events: 5,
        first: &["path=/pets", "status=200", "response_bytes=184"],
        rejects: &[],
    },
    Sample {
        name: "aws-apigateway-http.ndjson",
        format: Format::AwsApiGateway,
        n_events: 5,
        first: &["path=/", "status=200", "response_bytes=47140"],
        rejects: &[],
    },
    Sample {
        name: "aws-alb.log",
        format: Format::AwsAlb,
        n_events: 18,
        first: &[
            "path=/",
            "scheme=http",
            "client_ip=192.168.1.10",
            "latency_us=1000",
        ],
        rejects: &[],
    },
    Sample {
        name: "aws-cloudfront-standard.log",
        format: Format::CloudFront,
        // Ten lines, of which two are the file's header.
        n_events: 8,
        first: &[
            "path=/index.html",
            "scheme=https",
            "status=200",
            "tls_version=TLSv1.2",
        ],
        rejects: &[],
    },
    Sample {
        name: "gcp-http-load-balancer.ndjson",
        format: Format::Gcp,
        n_events: 2,
        first: &[
            "path=/static/us/three-cats.jpg",
            "status=304",
            "request_bytes=577",
        ],
        rejects: &[],
    },
    Sample {
        name: "gcp-http-load-balancer-panther.ndjson",
        format: Format::Gcp,
        n_events: 4,
        first: &["path=/", "status=403", "latency_us=48180"],
        rejects: &["missing_field: timestamp", "missing_field: requestUrl"],
    },
    Sample {
        name: "azure-apim-gatewaylogs.ndjson",
        format: Format::AzureApim,
        n_events: 0,
        first: &[],
        // Published with a masked time.
        rejects: &["wrong_type: time is not a time"],
    },
    Sample {
        name: "azure-application-gateway.ndjson",
        format: Format::AzureAppGateway,
        n_events: 2,
        first: &[
            "path=/phpmyadmin/scripts/setup.php",
            "status=404",
            "latency_us=205000",
        ],
        // The firewall's log.
        rejects: &["missing_field: httpMethod"],
    },
    Sample {
        name: "cloudflare-http-requests.ndjson",
        format: Format::Cloudflare,
        n_events: 2,
        first: &[
            "path=/s/example/api/telemetry/v2/clusters/_stats",
            "status=200",
        ],
        // Two whose paths were blanked, and an empty object.
        rejects: &[
            "missing_field: ClientRequestURI",
            "missing_field: ClientRequestURI",
            "missing_field: EdgeStartTimestamp",
        ],
    },
    Sample {
        name: "akamai-datastream2.ndjson",
        format: Format::Akamai,
        n_events: 2,
        first: &[
            "path=/",
            "query=param=value",
            "status=403",
            "latency_us=35000",
        ],
        rejects: &[],
    },
    Sample {
        name: "f5-bigip-ltm.ndjson",
        format: Format::F5,
        n_events: 2,
        first: &["path=/", "principal=Test", "status=200", "latency_us=5000"],
        rejects: &[],
    },
    Sample {
        name: "imperva-cloud-waf-cef.log",
        format: Format::Imperva,
        n_events: 1,
        first: &["path=/main.css", "status=200", "client_ip=12.12.12.12"],
        rejects: &[],
    },
    Sample {
        name: "aws-waf.ndjson",
        format: Format::AwsWaf,
        n_events: 2,
        first: &["path=/pen-test/pets", "host=somewhere.someone.dev"],
        rejects: &[],
    },
    Sample {
        name: "aws-waf-panther.ndjson",
        format: Format::AwsWaf,
        n_events: 31,
        first: &["path=/wp-admin/", "status=403", "client_ip=203.0.113.45"],
        rejects: &WITHOUT_METHOD,
    },
    Sample {
        name: "haproxy-httplog.log",
        format: Format::Haproxy,
        n_events: 8,
        first: &[
            "path=/xxx/xxx",
            "scheme=https",
            "latency_us=173000",
            "client_ip=117.136.40.129",
        ],
        // Connections whose handshake failed.
        rejects: &["malformed: no server where HAProxy's HTTP log has it"; 3],
    },
    Sample {
        name: "haproxy-json-generated.ndjson",
        format: Format::Haproxy,
        n_events: 13,
        first: &["path=/api/v1/orders/7", "status=200", "request_bytes=192"],
        // A bad request's captures are missing without their quotes.
        rejects: &["malformed: JSON syntax at line 1 column 356"],
    },
    Sample {
        name: "traefik-json.ndjson",
        format: Format::Traefik,
        n_events: 85,
        first: &[
            "path=/594VAEoi.save",
            "host=test.docker.localhost",
            "latency_us=357",
            "user_agent=Nikto",
        ],
        rejects: &[],
    },
    Sample {
        name: "traefik-clf.log",
        format: Format::Combined,
        n_events: 7,
        first: &[
            "path=/scripts/cpshost.dll",
            "gateway=traefik",
            "route=test@docker",
        ],
        rejects: &[],
    },
    Sample {
        name: "caddy-json.ndjson",
        format: Format::Caddy,
        n_events: 10,
        first: &["path=/", "host=127.0.0.1:8080", "client_ip=127.0.0.1"],
        // Another logger's line.
        rejects: &["missing_field: request.uri"],
    },
    Sample {
        name: "apisix-kafka-logger-default.ndjson",
        format: Format::Apisix,
        n_events: 1,
        first: &["path=/hello", "query=ab=cd", "host=localhost", "status=200"],
        rejects: &[],
    },
    Sample {
        name: "tyk-pump-stdout.ndjson",
        format: Format::Tyk,
        n_events: 1,
        first: &["path=/get", "host=httpbin.org", "latency_us=1128000"],
        rejects: &[],
    },
    Sample {
        name: "krakend-gin.log",
        format: Format::Krakend,
        n_events: 0,
        first: &[],
        // Published with letters for the time.
        rejects: &["malformed: no time where KrakenD's access log has it"; 2],
    },
    Sample {
        name: "envoy-default-text.log",
        format: Format::Envoy,
        n_events: 1,
        first: &[
            "path=/api/v1/locations",
            "host=locations",
            "latency_us=226000",
        ],
        rejects: &[],
    },
    Sample {
        name: "istio-text.log",
        format: Format::Envoy,
        n_events: 7,
        first: &[
            "path=/details/0",
            "gateway=istio",
            "client_ip=10.68.1.7",
            "response_bytes=178",
        ],
        rejects: &[],
    },
    Sample {
        name: "ingress-nginx.log",
        format: Format::Combined,
        n_events: 9,
        first: &[
            "path=/products",
            "gateway=ingress-nginx",
            "service=default-web-8080",
            "request_bytes=89",
        ],
        rejects: &[],
    },
    Sample {
        name: "otlp-http-server-old-semconv-generated.ndjson",
        format: Format::Otlp,
        n_events: 13,
        first: &[
            "path=/api/v1/orders/7",
            "service=shop-api",
            "route=/api/v1/orders/<int:oid>",
        ],
        rejects: &[],
    },
    Sample {
        name: "otlp-http-server-stable-semconv-generated.ndjson",
        format: Format::Otlp,
        n_events: 8,
        first: &[
            "path=/api/v1/orders/7",
            "query=expand=items",
            "user_agent=curl/7.88.1",
        ],
        rejects: &[],
    },
    Sample {
        name: "otlp-trace-proto-example.ndjson",
        format: Format::Otlp,
        n_events: 0,
        first: &[],
        // A server span, but not HTTP's.
        rejects: &["missing_field: url.path"],
    },
    Sample {
        name: "ecs-filebeat-nginx.ndjson",
        format: Format::Ecs,
        n_events: 1,
        first: &["path=/server-status", "status=200", "response_bytes=97"],
        rejects: &[],
    },
    Sample {
        name: "ocsf-http-activity-4002.ndjson",
        format: Format::Ocsf,
        n_events: 3,
        first: &[
            "path=/wp-includes/css/wp-config.php",
            "status=404",
            "host=lifeisnetwork.com",
        ],
        rejects: &[],
    },
    Sample {
        name: "ocsf-api-activity-6003.ndjson",
        format: Format::Ocsf,
        n_events: 3,
        first: &[
            "path=/directconnect.amazonaws.com/DescribeDirectConnectGateways",
            "principal=arn:aws:iam::1111111111111:user/Level6",
        ],
        rejects: &[],
    },
    Sample {
        name: "zeek-http.ndjson",
        format: Format::Zeek,
        n_events: 98,
        first: &["path=/cgi-bin/formmail.pl", "client_ip=131.243.1.23"],
        // A second answer without a request, and a request without a target.
        rejects: &["missing_field: method", "missing_field: uri"],
    },
];

fn text(name: &str) -> Option<String> {
    let shared = std::env::var_os("TOLLWATCH_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let path = shared.join("data/samples").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        println!("skipped: {} is not there", path.display());
    }
    text
}

fn decode(text: &str, format: Format) -> (DecodedBatch, Option<Format>) {
    let records: Vec<_> = (0..)
        .zip(text.lines())
        .map(|(offset, line)| SourceRecord {
            payload: line.as_bytes(),
            offset,
            broker_time_ms: None,
        })
        .collect();
    let mut decoder = Decoder::new(format);
    let decoded = decoder.decode(&records);
    (decoded, decoder.detected())
}

/// One column of the first event as text.
fn first(decoded: &DecodedBatch, name: &str) -> String {
    let column = decoded.batch.column_by_name(name).expect("a column");
    match name {
        "status" => column.as_primitive::<UInt16Type>().value(0).to_string(),
        "latency_us" | "request_bytes" | "response_bytes" => {
            column.as_primitive::<Int64Type>().value(0).to_string()
        }
        _ => column.as_string_view().value(0).to_owned(),
    }
}

#[test]
fn samples_decode_or_are_rejected_for_what_they_lack() {
    for sample in SAMPLES {
        let Some(text) = text(sample.name) else {
            continue;
        };
        for format in [sample.format, Format::Auto] {
            let (decoded, detected) = decode(&text, format);
            let place = format!("{} as {format}", sample.name);
            let rejects: Vec<_> = decoded
                .rejects
                .iter()
                .map(|reject| format!("{}: {}", reject.reason, reject.detail))
                .collect();
            assert_eq!(
                decoded.batch.num_rows(),
                sample.n_events,
                "{place}: {rejects:?}"
            );
            // An empty object or a line that is no call at all is of no format that can be detected.
            let known = |reject: &&String| !reject.starts_with("unknown_format");
            let n_unknown = rejects.iter().filter(|reject| !known(reject)).count();
            assert!(
                format == Format::Auto || n_unknown == 0,
                "{place}: {rejects:?}"
            );
            let rejects: Vec<_> = rejects.iter().filter(known).collect();
            assert_eq!(
                rejects.len() + n_unknown,
                sample.rejects.len(),
                "{place}: {rejects:?}"
            );
            for reject in rejects {
                assert!(
                    sample.rejects.contains(&reject.as_str()),
                    "{place}: {reject}"
                );
            }
            for wanted in sample.first {
                let (name, value) = wanted.split_once('=').expect("a name and a value");
                assert_eq!(first(&decoded, name), value, "{place}: {name}");
            }
            if sample.n_events > 0 {
                assert_eq!(detected, Some(sample.format), "{place}");
            }
        }
    }
}
