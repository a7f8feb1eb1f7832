//! User agents, as far as they tell the truth: a caller chooses the header.

use models::user_agent::{Class, class, family};

use super::{Constants, Each, Function};

pub(super) const UA_FAMILY: Function = Function {
    name: "ua_family",
    form: "ua_family(user_agent)",
    gives: "text",
    about: "The product a user agent names, of a short list of browsers, apps, libraries, tools, monitors and scanners; `bot` for other crawlers, `other` for the rest. The caller chooses the header.",
    example: "ua_family('curl/8.5.0')",
    answer: "curl",
    constants: Constants::None,
    prepare: |_| {
        Ok(Each::Text(Box::new(|text, out| {
            out.push_str(family(text).map_or("other", |(name, _)| name));
            true
        })))
    },
};

pub(super) const UA_IS_BOT: Function = Function {
    name: "ua_is_bot",
    form: "ua_is_bot(user_agent)",
    gives: "bool",
    about: "True when `ua_family` is a program's rather than a browser's or an app's, or `bot`. False for what is on no list.",
    example: "ua_is_bot('Mozilla/5.0 (compatible; Googlebot/2.1)')",
    answer: "true",
    constants: Constants::None,
    prepare: |_| {
        Ok(Each::Flag(Box::new(|text| {
            let calls = |class| !matches!(class, Class::Browser | Class::MobileApp);
            Some(family(text).is_some_and(|(_, class)| calls(class)))
        })))
    },
};

pub(super) const UA_CLASS: Function = Function {
    name: "ua_class",
    form: "ua_class(user_agent)",
    gives: "text",
    about: "What kind of program a user agent says it is, as in the column `agent_class`: `browser`, `mobile_app`, `ai_agent`, `crawler`, `monitor`, `scanner`, `script`, `library` or `unknown`. The caller chooses the header.",
    example: "ua_class('python-requests/2.32.3')",
    answer: "library",
    constants: Constants::None,
    prepare: |_| {
        Ok(Each::Text(Box::new(|text, out| {
            out.push_str(class(text).as_str());
            true
        })))
    },
};
