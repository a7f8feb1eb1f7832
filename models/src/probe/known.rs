//! Paths only a misconfigured server serves.
//!
//! Our own list, short on purpose. Left out because documented APIs serve them: `/admin`, `/health`, `/metrics`,
//! `/prometheus`, `/openapi.json`, `/swagger`, `/config.json`, `/robots.txt`, `/actuator/health`, `/actuator/info`.

/// Longest path that is looked at, in bytes; a longer one is none of these.
const PATH_BYTES_MAX: usize = 512;

/// Says whether a raw path is one of the known bad ones; case and one level of escapes don't matter.
pub(super) fn is_bad(path: &str) -> bool {
    let mut buffer = [0u8; PATH_BYTES_MAX];
    let Some(lower) = lowered(path, &mut buffer) else {
        return false;
    };
    let mut depth = 0;
    let mut parent: &[u8] = b"";
    let mut segments = lower
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if is_bad_anywhere(segment)
            || (is_last && is_bad_file(segment))
            || is_bad_pair(parent, segment)
        {
            return true;
        }
        if depth == 0 && is_bad_root(segment) {
            return true;
        }
        depth += 1;
        parent = segment;
    }
    false
}

fn lowered<'b>(path: &str, buffer: &'b mut [u8; PATH_BYTES_MAX]) -> Option<&'b [u8]> {
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        let lower = buffer.get_mut(..path.len())?;
        lower.copy_from_slice(path.as_bytes());
        lower.make_ascii_lowercase();
        return Some(lower);
    }
    let mut bytes = path.bytes();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        let byte = match (byte, bytes.next_hex()) {
            (b'%', Some(value)) => {
                bytes.nth(1);
                value
            }
            _ => byte,
        };
        *buffer.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    buffer.get(..length)
}

/// The value of the next two hex digits.
trait NextHex {
    fn next_hex(&self) -> Option<u8>;
}

impl NextHex for std::str::Bytes<'_> {
    fn next_hex(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let high = char::from(ahead.next()?).to_digit(16)?;
        let low = char::from(ahead.next()?).to_digit(16)?;
        u8::try_from(high * 16 + low).ok()
    }
}

/// Directories and files that are wrong at any depth.
fn is_bad_anywhere(segment: &[u8]) -> bool {
    matches!(
        segment,
        b".git"
            | b".svn"
            | b".hg"
            | b".bzr"
            | b"cvs"
            | b".aws"
            | b".ssh"
            | b".kube"
            | b".docker"
            | b".azure"
            | b".gcloud"
            | b".idea"
            | b".vscode"
            | b".claude"
            | b".cursor"
            | b".ds_store"
            | b".htaccess"
            | b".htpasswd"
            | b".npmrc"
            | b".pypirc"
            | b".netrc"
            | b".dockerenv"
            | b".dockercfg"
            | b".dockerignore"
            | b".bash_history"
            | b".bashrc"
            | b".profile"
            | b".mysql_history"
            | b".psql_history"
            | b".gitignore"
            | b".gitconfig"
            | b".git-credentials"
            | b".gitlab-ci.yml"
            | b".travis.yml"
            | b".circleci"
            | b".github"
            | b".terraform"
            | b".env"
            | b".config"
            | b".pgpass"
            | b".boto"
            | b".s3cfg"
            | b".rediscli_history"
            | b".vault-token"
            | b"wp-admin"
            | b"wp-content"
            | b"wp-includes"
            | b"phpmyadmin"
            | b"pma"
            | b"cgi-bin"
            | b"jolokia"
            | b"jmx-console"
            | b"web-console"
            | b"h2-console"
            | b"heapdump"
            | b"_profiler"
            | b"_ignition"
            | b"phpunit"
            | b"server-status"
            | b"server-info"
            | b"adminer"
            | b"hnap1"
            | b"boaform"
            | b"goform"
            | b"geoserver"
            | b"struts2-showcase"
            | [b'.', b'e', b'n', b'v', b'.' | b'-' | b'_', ..]
    )
}

/// File names that are wrong at the end of a path.
fn is_bad_file(name: &[u8]) -> bool {
    matches!(
        name,
        b"wp-login.php"
            | b"wp-config.php"
            | b"xmlrpc.php"
            | b"phpinfo.php"
            | b"info.php"
            | b"adminer.php"
            | b"shell.php"
            | b"cmd.php"
            | b"c99.php"
            | b"r57.php"
            | b"eval-stdin.php"
            | b"id_rsa"
            | b"id_dsa"
            | b"id_ed25519"
            | b"id_ecdsa"
            | b"authorized_keys"
            | b"known_hosts"
            | b"server.key"
            | b"private.key"
            | b"privatekey.pem"
            | b"private.pem"
            | b"composer.json"
            | b"composer.lock"
            | b"package.json"
            | b"package-lock.json"
            | b"yarn.lock"
            | b"pnpm-lock.yaml"
            | b"gemfile"
            | b"gemfile.lock"
            | b"requirements.txt"
            | b"pipfile"
            | b"pipfile.lock"
            | b"go.mod"
            | b"cargo.toml"
            | b"dockerfile"
            | b"docker-compose.yml"
            | b"docker-compose.yaml"
            | b"jenkinsfile"
            | b"vagrantfile"
            | b"makefile"
            | b"web.config"
            | b"elmah.axd"
            | b"trace.axd"
            | b"global.asax"
            | b"settings.py"
            | b"local_settings.py"
            | b"application.yml"
            | b"application.yaml"
            | b"application.properties"
            | b"bootstrap.yml"
            | b"database.yml"
            | b"secrets.yml"
            | b"secrets.json"
            | b"credentials.json"
            | b"config.php"
            | b"config.inc.php"
            | b"config.yml"
            | b"config.yaml"
            | b"parameters.yml"
            | b"localsettings.php"
            | b"configuration.php"
            | b"db.sqlite3"
            | b"db.sqlite"
            | b"database.sqlite"
            | b"dump.rdb"
            | b"terraform.tfstate"
            | b"terraform.tfvars"
            | b"laravel.log"
            | b"debug.log"
            | b"error_log"
            | b"error.log"
            | b"access.log"
            | b"npm-debug.log"
            | b"sftp-config.json"
            | b"appsettings.json"
            | b"service-account.json"
            | b"firebase.json"
            | b"mcp.json"
            | b"web-inf"
            | b"web.xml"
    ) || is_backup(name)
}

/// `x.bak`, `x.old`, `x~`, `dump.sql`, `backup.tar.gz`.
fn is_backup(name: &[u8]) -> bool {
    let text = std::str::from_utf8(name).unwrap_or("");
    if let Some(stem) = text.strip_suffix('~') {
        return !stem.is_empty();
    }
    let Some((stem, tail)) = text.rsplit_once('.') else {
        return false;
    };
    match tail {
        "bak" | "bkp" | "backup" | "old" | "orig" | "save" | "swp" | "swo" | "kdbx" | "tfstate" => {
            !stem.is_empty()
        }
        "sql" | "sqlite3" | "mdb" => true,
        "zip" | "rar" | "7z" | "tar" | "tgz" | "gz" | "bz2" | "xz" | "war" => {
            let stem = stem.trim_end_matches(".tar").trim_end_matches(".sql");
            tail == "gz" && text.ends_with(".sql.gz")
                || matches!(
                    stem,
                    "backup"
                        | "backups"
                        | "bak"
                        | "site"
                        | "www"
                        | "wwwroot"
                        | "html"
                        | "public_html"
                        | "htdocs"
                        | "web"
                        | "website"
                        | "dump"
                        | "db"
                        | "database"
                        | "source"
                        | "src"
                        | "code"
                        | "app"
                        | "root"
                        | "old"
                        | "config"
                        | "conf"
                        | "full"
                        | "archive"
                )
        }
        _ => false,
    }
}

/// First segments that are wrong right under the root; deeper down an application may mean something by them.
fn is_bad_root(segment: &[u8]) -> bool {
    matches!(
        segment,
        b"debug"
            | b"_debug"
            | b"__debug__"
            | b"console"
            | b"trace"
            | b"env"
            | b"threaddump"
            | b"httptrace"
            | b"phpinfo"
            | b"manager"
            | b"solr"
            | b"struts"
            | b"druid"
            | b"nacos"
            | b"autodiscover"
            | b"owa"
            | b"ecp"
            | b"telescope"
            | b"invoker"
            | b"axis2"
            | b"cfide"
            | b"_cat"
            | b"_cluster"
            | b"mysql"
            | b"myadmin"
            | b"sqlmanager"
            | b"webdav"
            | b"backup"
            | b"_vti_bin"
            | b"_vti_pvt"
            | b"kibana"
            | b"jenkins"
            | b"hudson"
    )
}

/// Pairs of segments, the second wrong behind the first.
fn is_bad_pair(parent: &[u8], segment: &[u8]) -> bool {
    match parent {
        b"actuator" | b"manage" | b"management" => matches!(
            segment,
            b"env"
                | b"heapdump"
                | b"beans"
                | b"configprops"
                | b"mappings"
                | b"threaddump"
                | b"loggers"
                | b"gateway"
                | b"trace"
                | b"httptrace"
                | b"shutdown"
                | b"dump"
                | b"auditevents"
                | b"sessions"
                | b"logfile"
                | b"restart"
                | b"refresh"
                | b"conditions"
                | b"autoconfig"
                | b"scheduledtasks"
        ),
        b"debug" => matches!(segment, b"pprof" | b"vars" | b"default" | b"requests"),
        b"latest" | b"v1" => matches!(segment, b"meta-data" | b"user-data"),
        b"telescope" => segment == b"requests",
        b"vendor" => segment == b"phpunit",
        b"manager" => matches!(segment, b"html" | b"text"),
        _ => false,
    }
}
