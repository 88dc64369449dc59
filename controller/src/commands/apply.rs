//! `controller apply`: a network as a file says. What the file does not mention stays as it is.

mod declared;
mod differences;
mod steps;

use std::{fs, path::Path};

use tombolo_proto::{
    api::{AccessRules, Member, Network, Route},
    rules::Action,
};

use self::{
    declared::Declared,
    differences::{Difference, difference},
    steps::{Request, Step},
};
use super::{Client, Failure, Output, client::network_path, table::Table};
use crate::config::one_line;

pub(super) fn run(
    path: &Path,
    dry_run: bool,
    client: &Client,
    out: &Output,
) -> Result<(), Failure> {
    let text = fs::read_to_string(path)
        .map_err(|cause| Failure::Usage(format!("cannot read {}: {cause}", path.display())))?;
    let declared: Declared = toml::from_str(&text).map_err(|error| {
        let cause = one_line(&error, &text);
        Failure::Usage(format!("{} is wrong: {cause}", path.display()))
    })?;
    let mut all = Vec::new();
    let networks: Vec<Network> = client.all("/networks")?;
    let known = networks
        .into_iter()
        .find(|network| network.name.eq_ignore_ascii_case(&declared.name));
    let network = match known {
        Some(network) => {
            let step = steps::settings(&declared, &network)?;
            carry_out(step, &network, dry_run, client, &mut all)?;
            Some(network)
        }
        None => {
            let new = declared.new_network()?;
            let what = format!("network {}", declared.name);
            all.push(difference(&what, "", "created"));
            if dry_run {
                None
            } else {
                Some(client.post("/networks", &new)?)
            }
        }
    };
    let members: Vec<Member> = match &network {
        Some(network) => client.all(&format!("{}/members", network_path(network.id)))?,
        None => Vec::new(),
    };
    let mut todo = Vec::new();
    for wanted in &declared.members {
        todo.extend(steps::member(wanted, &members, network.is_some())?);
    }
    let routes = network.as_ref().map_or(&[][..], |network| &network.routes);
    for wanted in &declared.routes {
        todo.extend(steps::route(wanted, routes, &members, &declared.members));
    }
    match &network {
        Some(network) => carry_out(todo, network, dry_run, client, &mut all)?,
        None => all.extend(todo.into_iter().flat_map(|step| step.differences)),
    }
    // Last: rules name members and tags.
    if let Some(wanted) = declared.access_rules()? {
        let known = match &network {
            Some(network) => client.get(&format!("{}/rules", network_path(network.id)))?,
            None => AccessRules {
                default: Action::Allow,
                rules: Vec::new(),
            },
        };
        let step = steps::rules(wanted, &known);
        match &network {
            Some(network) => carry_out(step, network, dry_run, client, &mut all)?,
            None => all.extend(step.into_iter().flat_map(|step| step.differences)),
        }
    }
    out.list(&all, |all| {
        Table::new(
            ["WHAT", "NOW", "WANTED"],
            all.iter().map(|difference| {
                [
                    difference.what.clone(),
                    difference.now.clone(),
                    difference.wanted.clone(),
                ]
            }),
        )
    });
    Ok(())
}

fn carry_out(
    steps: impl IntoIterator<Item = Step>,
    network: &Network,
    dry_run: bool,
    client: &Client,
    all: &mut Vec<Difference>,
) -> Result<(), Failure> {
    let path = network_path(network.id);
    for step in steps {
        if !dry_run {
            match step.request {
                Request::Settings(patch) => drop(client.patch::<Network>(&path, &patch)?),
                Request::Member(node, patch) => {
                    drop(client.patch::<Member>(&format!("{path}/members/{node}"), &patch)?);
                }
                Request::Rules(rules) => {
                    drop(client.put::<AccessRules>(&format!("{path}/rules"), &rules)?);
                }
                Request::AddRoute(new) => {
                    drop(client.post::<Route>(&format!("{path}/routes"), &new)?);
                }
                Request::UpdateRoute(id, patch) => {
                    drop(client.patch::<Route>(&format!("{path}/routes/{id}"), &patch)?);
                }
            }
        }
        all.extend(step.differences);
    }
    Ok(())
}
