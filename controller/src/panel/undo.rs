//! What an action says when it is done, and the button beside it that takes it back.

use ipnet::IpNet;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use tombolo_proto::{
    config::RouteMode,
    id::{NetworkId, NodeId},
};

use super::{layout, visit::SignedIn};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) text: String,
    pub(super) undo: Option<Undo>,
}

impl From<String> for Done {
    fn from(text: String) -> Self {
        Self { text, undo: None }
    }
}

/// What takes something back: a form of the panel, filled in. It comes out of a cookie, so it names only what it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Undo {
    /// Lets members in again, or puts them out again.
    Authorized {
        network: NetworkId,
        nodes: Vec<NodeId>,
        authorized: bool,
    },
    /// The same for one member, on its own page.
    AuthorizedOne {
        network: NetworkId,
        node: NodeId,
        authorized: bool,
    },
    /// Lets a member relay again, or not any more.
    Relay {
        network: NetworkId,
        node: NodeId,
        relay: bool,
    },
    /// Adds a route again.
    Route {
        network: NetworkId,
        target: IpNet,
        via: NodeId,
        mode: RouteMode,
        metric: u32,
    },
    /// Adds a rule again, at its number.
    Rule {
        network: NetworkId,
        number: usize,
        rule: String,
    },
}

impl Undo {
    /// The button.
    pub(super) fn button(&self, by: &SignedIn) -> Markup {
        let (action, fields) = self.form();
        html! {
            form method="post" action=(action) {
                (layout::csrf(by))
                @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                button.quiet.small type="submit" { (by.visitor.texts().undo) }
            }
        }
    }

    fn form(&self) -> (String, Vec<(&'static str, String)>) {
        match self {
            Self::Authorized {
                network,
                nodes,
                authorized,
            } => {
                let nodes = nodes.iter().map(|node| ("node", node.to_string()));
                let state = ("authorized", authorized.to_string());
                (
                    format!("/networks/{network}/members"),
                    nodes.chain([state]).collect(),
                )
            }
            Self::AuthorizedOne {
                network,
                node,
                authorized,
            } => (
                format!("/networks/{network}/members/{node}/authorized"),
                vec![
                    ("authorized", authorized.to_string()),
                    ("back", "member".to_owned()),
                ],
            ),
            Self::Relay {
                network,
                node,
                relay,
            } => (
                format!("/networks/{network}/members/{node}/relay"),
                vec![("relay", relay.to_string())],
            ),
            Self::Route {
                network,
                target,
                via,
                mode,
                metric,
            } => {
                let failover = (*mode == RouteMode::Failover).then(|| "on".to_owned());
                let fields = [
                    ("target", target.to_string()),
                    ("via", via.to_string()),
                    ("metric", metric.to_string()),
                ];
                let failover = failover.map(|on| ("failover", on));
                (
                    format!("/networks/{network}/routes"),
                    fields.into_iter().chain(failover).collect(),
                )
            }
            Self::Rule {
                network,
                number,
                rule,
            } => (
                format!("/networks/{network}/rules"),
                vec![("at", number.to_string()), ("rule", rule.clone())],
            ),
        }
    }
}
