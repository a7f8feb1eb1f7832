//! AI agents: which callers are some, what they use, and what they do that nobody meant them to.
//!
//! The way of the data: [`recognise`] says of one call which agent it claims to be, and how far that goes; [`protocol`] which
//! agent protocol it speaks; [`cadence`] keeps the pace of one identity, as a hint; [`record`] what is kept of agents,
//! MCP servers and tools, mergeable; [`check`] tells eight faults over these, with the life of every other finding;
//! [`chain`] watches one agent's tool calls in their order. [`watch`] joins these in a lane of callers, and [`roster`]
//! keeps what all lanes tell. [`register`] is the operator's word on who answers for what.
//!
//! **Invariant**: a claim stays one. A user agent, a `Signature-Agent` header or an SDK's header is written by the
//! caller; only a credential that the gateway checked, or a signature that it verified, is more.

pub mod cadence;
pub mod chain;
pub mod check;
pub mod protocol;
pub mod record;
pub mod register;
pub mod roster;
pub(crate) mod signature;
pub mod watch;

use serde::{Deserialize, Serialize};

pub use check::{AGENT_CHECKS, agents_page};
pub use signature::{SIGNATURES, Signature, signatures_page};

/// How far a sign goes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Grade {
    /// Looks like it.
    #[default]
    Hint,
    /// The caller says so.
    Claim,
    /// A credential that is good for this agent alone says so, or only such software speaks so.
    Strong,
    /// Verified by the gateway, or not to be had otherwise.
    Proof,
}

impl Grade {
    /// The name in records and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Hint => "hint",
            Grade::Claim => "claim",
            Grade::Strong => "strong",
            Grade::Proof => "proof",
        }
    }
}

/// What an agent is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Answers or acts for a person at the moment.
    Assistant,
    /// Works on a browser's or computer's screen.
    Operator,
    /// Writes programs.
    Coding,
    /// Gathers pages, for search or training.
    Crawler,
    /// A program made with a model vendor's library.
    Sdk,
    /// Not told.
    Unknown,
}

impl Kind {
    /// The name in records and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Assistant => "assistant",
            Kind::Operator => "operator",
            Kind::Coding => "coding",
            Kind::Crawler => "crawler",
            Kind::Sdk => "sdk",
            Kind::Unknown => "unknown",
        }
    }
}

/// By what an agent was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sign {
    /// A signature that the gateway verified (Web Bot Auth).
    Signature,
    /// The client of its token, which is registered as an agent's.
    RegisteredClient,
    /// It speaks MCP or A2A, and shows a credential.
    Protocol,
    /// The client of its token is named like one.
    ClientName,
    /// A `Signature-Agent` header that nobody verified.
    SignatureClaim,
    /// Headers of a vendor's library (`X-Stainless-…`).
    SdkHeader,
    /// Its user agent.
    UserAgent,
    /// Its pace.
    Cadence,
}

impl Sign {
    /// The name in records and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Sign::Signature => "signature",
            Sign::RegisteredClient => "registered_client",
            Sign::Protocol => "protocol",
            Sign::ClientName => "client_name",
            Sign::SignatureClaim => "signature_claim",
            Sign::SdkHeader => "sdk_header",
            Sign::UserAgent => "user_agent",
            Sign::Cadence => "cadence",
        }
    }
}

/// One call, as far as it says who acts.
#[derive(Clone, Copy, Debug, Default)]
pub struct AgentView<'a> {
    /// User agent as sent.
    pub user_agent: Option<&'a str>,
    /// Client or actor of the caller's token.
    pub actor: Option<&'a str>,
    /// A credential was shown.
    pub authenticated: bool,
    /// The call was refused for want of a good credential (401): then nothing it shows counts.
    pub rejected: bool,
    /// True when the operator registered the client as an agent's.
    pub registered: bool,
    /// Grade of the agent protocol of the call, from [`protocol::recognise`].
    pub protocol: Option<Grade>,
    /// `Signature-Agent` header.
    pub signature_agent: Option<&'a str>,
    /// The gateway verified that signature; no column of the events today.
    pub signature_verified: bool,
    /// `X-Stainless-Lang` or a like header.
    pub sdk_header: Option<&'a str>,
}

/// What a call says of its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognition {
    /// How far it goes.
    pub grade: Grade,
    /// By what: the best sign.
    pub sign: Sign,
    /// Family of the user agent, when that is known; else empty.
    pub family: &'static str,
    /// Who makes it, as the family says.
    pub operator: &'static str,
    /// What it is for.
    pub kind: Kind,
}

/// Recognises an agent by one call; `None` for a caller that is none as far as the call says.
pub fn recognise(view: &AgentView<'_>) -> Option<Recognition> {
    recognise_by(view, view.user_agent.and_then(signature::of_user_agent))
}

/// The same, with the family of the user agent at hand.
fn recognise_by(view: &AgentView<'_>, family: Option<&'static Signature>) -> Option<Recognition> {
    let told = |grade, sign| Recognition {
        grade,
        sign,
        family: family.map_or("", |family| family.family),
        operator: family.map_or("", |family| family.operator),
        kind: family.map_or(Kind::Unknown, |family| family.kind),
    };
    let vouched = view.authenticated && !view.rejected;
    if view.signature_verified && !view.rejected {
        return Some(told(Grade::Proof, Sign::Signature));
    }
    if vouched && view.registered {
        return Some(told(Grade::Proof, Sign::RegisteredClient));
    }
    if vouched && view.protocol.is_some_and(|grade| Grade::Strong <= grade) {
        return Some(told(Grade::Strong, Sign::Protocol));
    }
    if vouched && view.actor.is_some_and(is_agent_name) {
        return Some(told(Grade::Strong, Sign::ClientName));
    }
    if view.signature_agent.is_some() {
        return Some(told(Grade::Claim, Sign::SignatureClaim));
    }
    if view.sdk_header.is_some() {
        return Some(Recognition {
            kind: family.map_or(Kind::Sdk, |family| family.kind),
            ..told(Grade::Claim, Sign::SdkHeader)
        });
    }
    family.map(|_| told(Grade::Claim, Sign::UserAgent))
}

/// True when a client's name says that it is an agent: a whole word of it does.
fn is_agent_name(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| {
            [
                "agent",
                "agents",
                "copilot",
                "mcp",
                "assistant",
                "llm",
                "gpt",
                "chatgpt",
                "claude",
                "gemini",
                "langchain",
                "langgraph",
                "crewai",
                "autogen",
            ]
            .iter()
            .any(|sign| word.eq_ignore_ascii_case(sign))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_best_sign_counts_and_claims_stay_claims() {
        let chat = Some("Mozilla/5.0; compatible; ChatGPT-User/1.0; +https://openai.com/bot");
        #[rustfmt::skip]
        let table = [
            (AgentView { user_agent: chat, ..AgentView::default() }, Some((Grade::Claim, Sign::UserAgent, "chatgpt-user"))),
            (AgentView { user_agent: chat, signature_agent: Some("\"https://chatgpt.com\""), ..AgentView::default() }, Some((Grade::Claim, Sign::SignatureClaim, "chatgpt-user"))),
            (AgentView { user_agent: chat, signature_agent: Some("x"), signature_verified: true, ..AgentView::default() }, Some((Grade::Proof, Sign::Signature, "chatgpt-user"))),
            (AgentView { actor: Some("billing-agent"), authenticated: true, ..AgentView::default() }, Some((Grade::Strong, Sign::ClientName, ""))),
            (AgentView { actor: Some("billing-agent"), authenticated: true, rejected: true, ..AgentView::default() }, None),
            (AgentView { actor: Some("mobile-app"), authenticated: true, ..AgentView::default() }, None),
            (AgentView { actor: Some("mobile-app"), authenticated: true, registered: true, ..AgentView::default() }, Some((Grade::Proof, Sign::RegisteredClient, ""))),
            (AgentView { actor: Some("magenta"), authenticated: true, ..AgentView::default() }, None),
            (AgentView { protocol: Some(Grade::Proof), authenticated: true, ..AgentView::default() }, Some((Grade::Strong, Sign::Protocol, ""))),
            (AgentView { protocol: Some(Grade::Proof), ..AgentView::default() }, None),
            (AgentView { protocol: Some(Grade::Hint), authenticated: true, ..AgentView::default() }, None),
            (AgentView { sdk_header: Some("python"), ..AgentView::default() }, Some((Grade::Claim, Sign::SdkHeader, ""))),
            (AgentView { user_agent: Some("Mozilla/5.0 (X11) Chrome/131.0"), ..AgentView::default() }, None),
        ];
        for (view, want) in table {
            let found = recognise(&view).map(|found| (found.grade, found.sign, found.family));
            assert_eq!(found, want, "{view:?}");
        }
    }

    proptest! {
        #[test]
        fn a_caller_alone_can_claim_and_never_prove(agent in "\\PC{0,80}", actor in "\\PC{0,20}", header in proptest::option::of("\\PC{0,20}")) {
            let view = AgentView { user_agent: Some(&agent), actor: Some(&actor), signature_agent: header.as_deref(), sdk_header: header.as_deref(), ..AgentView::default() };
            prop_assert!(recognise(&view).is_none_or(|found| found.grade <= Grade::Claim));
        }
    }
}
