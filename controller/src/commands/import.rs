//! `controller import zerotier`: the networks of a ZeroTier controller, from its files.
//!
//! Keys cannot be carried over, so every server joins anew and has a new node address. What can be said beforehand is made
//! beforehand: networks, pools, prefixes. When a server has joined, whoever imports says which one it was, and it gets its
//! authorisation, name, addresses and routes.

mod directory;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tombolo_proto::{
    api::Network,
    id::{NetworkId, NodeId},
};

use self::{directory::Old, plan::Moved};
use super::{Client, Failure, Output, table::Table};
use crate::cli::{ImportVerb, ImportZerotier};

/// What becomes of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Item {
    /// Which.
    what: String,
    /// `create`, `change`, `keep`, `wait` (something has to happen first) or `leave` (it has no counterpart).
    outcome: &'static str,
    /// What exactly, or what to do.
    detail: String,
}

impl Item {
    fn new(what: impl Into<String>, outcome: &'static str, detail: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            outcome,
            detail: detail.into(),
        }
    }
}

pub(super) fn run(verb: &ImportVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    let ImportVerb::Zerotier(asked) = verb;
    let mut networks = directory::read(&asked.dir)?;
    for id in &asked.networks {
        if !networks.iter().any(|network| network.id == *id) {
            return Err(Failure::Usage(format!(
                "{} has no network {id}: leave --network out to see which there are",
                asked.dir.display()
            )));
        }
    }
    networks.retain(|network| asked.networks.is_empty() || asked.networks.contains(&network.id));
    for (old, _) in &asked.moved {
        if !networks
            .iter()
            .any(|network| network.members.contains_key(old))
        {
            return Err(Failure::Usage(format!(
                "{old} is a member of none of these networks: name the address that it has at ZeroTier first"
            )));
        }
    }
    let known: Vec<Network> = client.all("/networks")?;
    let names = plan::names(&networks);
    let mut items = Vec::new();
    for (old, name) in networks.iter().zip(names) {
        let there = known
            .iter()
            .find(|network| network.name.eq_ignore_ascii_case(&name))
            .map(|network| network.id);
        import(old, &name, there, asked, client, &mut items)?;
    }
    out.list(&items, |items| {
        let row = |item: &Item| {
            [
                item.what.clone(),
                item.outcome.to_owned(),
                item.detail.clone(),
            ]
        };
        Table::new(["WHAT", "OUTCOME", "DETAIL"], items.iter().map(row))
    });
    Ok(())
}

fn import(
    old: &Old,
    name: &str,
    there: Option<NetworkId>,
    asked: &ImportZerotier,
    client: &Client,
    items: &mut Vec<Item>,
) -> Result<(), Failure> {
    let (wanted, left) = plan::network(old, name);
    let id = match there {
        Some(id) => {
            let path = at(id);
            let shown: Value = client.get(&path)?;
            let changes = plan::changes(&shown, &wanted);
            settle(
                client,
                &path,
                &format!("network {name}"),
                changes,
                asked.dry_run,
                items,
            )?;
            Some(id)
        }
        None => {
            items.push(Item::new(
                format!("network {name}"),
                "create",
                format!("was {} at ZeroTier", old.id),
            ));
            if asked.dry_run {
                None
            } else {
                let made: Value = client.post("//controller/network", &wanted)?;
                Some(plan::id_of(&made).ok_or_else(|| {
                    Failure::Other("the new network has no id: check --url".to_owned())
                })?)
            }
        }
    };
    items.extend(left);
    let moved = members(old, id, asked, client, items)?;
    let (routes, waiting) = plan::routes(old, &moved);
    if let Some(id) = id.filter(|_| !routes.is_empty()) {
        let shown: Value = client.get(&at(id))?;
        let changes = plan::more_routes(&shown, &routes);
        let what = format!("network {name}");
        settle(client, &at(id), &what, changes, asked.dry_run, items)?;
    }
    items.extend(waiting);
    Ok(())
}

/// Those that have moved become what they were. Tells which ones have.
fn members(
    old: &Old,
    id: Option<NetworkId>,
    asked: &ImportZerotier,
    client: &Client,
    items: &mut Vec<Item>,
) -> Result<BTreeSet<NodeId>, Failure> {
    let known: BTreeMap<String, u64> = match id {
        Some(id) => client.get(&format!("{}/member", at(id)))?,
        None => BTreeMap::new(),
    };
    let mut arrived = BTreeSet::new();
    for (node, fields) in &old.members {
        let new = asked.moved.iter().find(|(old, _)| old == node);
        let member = match (
            plan::member(old, *node, fields, new.map(|(_, new)| *new)),
            id,
        ) {
            (Moved::Is(item), _) => {
                items.push(item);
                continue;
            }
            (Moved::Wants(new, wanted), Some(id)) if known.contains_key(&new.to_string()) => {
                (new, wanted, id)
            }
            (Moved::Wants(new, _), _) => {
                let detail = format!(
                    "{new} has not asked to join: run `tombolo join` there, then repeat this"
                );
                items.push(Item::new(plan::title(*node, fields), "wait", detail));
                continue;
            }
        };
        let (new, wanted, id) = member;
        let path = format!("{}/member/{new}", at(id));
        let shown: Value = client.get(&path)?;
        let changes = plan::changes(&shown, &wanted);
        let what = format!("{} as {new}", plan::title(*node, fields));
        settle(client, &path, &what, changes, asked.dry_run, items)?;
        arrived.insert(*node);
    }
    Ok(arrived)
}

/// Changes what differs, in one request, so that the audit log has one line of it.
fn settle(
    client: &Client,
    path: &str,
    what: &str,
    changes: plan::Changes,
    dry_run: bool,
    items: &mut Vec<Item>,
) -> Result<(), Failure> {
    if changes.is_empty() {
        items.push(Item::new(what, "keep", ""));
        return Ok(());
    }
    items.push(Item::new(what, "change", changes.told()));
    if !dry_run {
        let _: Value = client.post(path, changes.fields())?;
    }
    Ok(())
}

fn at(id: NetworkId) -> String {
    format!("//controller/network/{id}")
}
