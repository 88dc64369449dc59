//! Replacing the access rules of a network.

use tombolo_proto::rules::{Action, Rule};

use crate::{change::Change, network::Network, refusal::Refusal, rules, settings::Settings};

pub(super) fn set(
    network: &Network,
    default: Action,
    written: Vec<Rule<String>>,
) -> Result<Vec<Change>, Refusal> {
    let rules = rules::resolve(network, default, written)?;
    let settings = network.settings();
    if rules == settings.rules {
        return Ok(Vec::new());
    }
    Ok(vec![Change::Settings(Settings {
        rules,
        ..settings.clone()
    })])
}
