//! Texts by topic: both languages side by side, so that a change of one is seen beside the other.

/// A text as it is.
type Text = &'static str;
/// A text about something that has a name.
type About = fn(&str) -> String;

/// Declares the texts of a topic: name, kind, English, Chinese.
macro_rules! topic {
    ($(#[$meta:meta])* $topic:ident { $($name:ident: $kind:ty = $english:expr, $chinese:expr;)* }) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(in crate::panel) struct $topic { $(pub(in crate::panel) $name: $kind,)* }

        impl $topic {
            pub(in crate::panel) const ENGLISH: Self = Self { $($name: $english,)* };
            pub(in crate::panel) const CHINESE: Self = Self { $($name: $chinese,)* };
        }
    };
}

mod access;
mod account;
mod audit;
mod map;
mod relays;
mod sign_on;
mod system;
mod webhooks;

pub(in crate::panel) use access::Access;
pub(in crate::panel) use account::Account;
pub(in crate::panel) use audit::Audit;
pub(in crate::panel) use map::Map;
pub(in crate::panel) use relays::Relays;
pub(in crate::panel) use sign_on::SignOn;
pub(in crate::panel) use system::System;
pub(in crate::panel) use webhooks::Webhooks;
