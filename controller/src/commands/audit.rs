//! `controller audit`

use data_encoding::HEXLOWER;
use serde::Serialize;
use tombolo_domain::audit::{Chain, Line};
use tombolo_proto::{
    api::{AuditEntry, AuditHead, Page},
    id::NetworkId,
};

use super::{Client, Failure, Output, table::Table};
use crate::cli::AuditVerb;

/// Lines fetched at once.
const PAGE: u32 = 1000;

pub(super) fn run(verb: &AuditVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    match verb {
        AuditVerb::Ls {
            network,
            actor,
            action,
            since,
            until,
            limit,
        } => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("order", "newest");
            query.append_pair("limit", &limit.to_string());
            // A network that is gone is still in the log: by its id.
            let network = match network {
                Some(text) if text.parse::<NetworkId>().is_ok() => Some(text.clone()),
                Some(text) => Some(client.network(text)?.id.to_string()),
                None => None,
            };
            let since = since.map(|seconds| seconds.to_string());
            let until = until.map(|seconds| seconds.to_string());
            for (name, value) in [
                ("network", network.as_ref()),
                ("actor", actor.as_ref()),
                ("action", action.as_ref()),
                ("since", since.as_ref()),
                ("until", until.as_ref()),
            ] {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
            let page: Page<AuditEntry> = client.get(&format!("/audit?{}", query.finish()))?;
            out.list(&page.items, table);
        }
        AuditVerb::Verify { noted } => {
            let noted = noted.as_deref().map(parse_noted).transpose()?;
            let verified = verify(client, noted.as_ref())?;
            out.object(&verified, |verified| {
                format!(
                    "{} lines, each as it was written. Note this to tell later that none was rewritten: {}:{}",
                    verified.id, verified.id, verified.hash
                )
            });
        }
    }
    Ok(())
}

/// What was found to hold.
#[derive(Debug, Serialize)]
struct Verified {
    id: u64,
    hash: String,
}

/// Reads the whole log. The head is asked for first: what is appended meanwhile lies beyond it.
fn verify(client: &Client, noted: Option<&AuditHead>) -> Result<Verified, Failure> {
    let head: AuditHead = client.get("/audit/head")?;
    let mut chain = Chain::default();
    let mut noted = noted;
    let mut passed_head = head.id == 0;
    loop {
        let page: Page<AuditEntry> =
            client.get(&format!("/audit?limit={PAGE}&after={}", chain.place))?;
        for entry in &page.items {
            follow(&mut chain, entry)?;
            if noted.is_some_and(|noted| noted.id == entry.id) {
                let noted = noted.take().map(|noted| noted.hash.as_str());
                if noted != Some(entry.hash.as_str()) {
                    return Err(broken(format!(
                        "line {} is not the one that was noted: the log was rewritten",
                        entry.id
                    )));
                }
            }
            if entry.id == head.id {
                passed_head = entry.hash == head.hash;
            }
        }
        if page.next.is_none() {
            break;
        }
    }
    if !passed_head {
        return Err(broken(format!(
            "the log ends at line {}, but line {} was written: lines are missing at its end",
            chain.place, head.id
        )));
    }
    if let Some(noted) = noted {
        return Err(broken(format!(
            "line {} was noted, but the log ends at line {}",
            noted.id, chain.place
        )));
    }
    Ok(Verified {
        id: chain.place,
        hash: HEXLOWER.encode(&chain.hash),
    })
}

fn follow(chain: &mut Chain, entry: &AuditEntry) -> Result<(), Failure> {
    let network = entry.network.map(|id| id.to_string());
    let before = entry.before.as_ref().map(ToString::to_string);
    let after = entry.after.as_ref().map(ToString::to_string);
    let line = Line {
        place: entry.id,
        at: entry.at,
        actor: &entry.actor,
        action: &entry.action,
        network: network.as_deref(),
        subject: &entry.subject,
        before: before.as_deref(),
        after: after.as_deref(),
    };
    let hash = HEXLOWER
        .decode(entry.hash.as_bytes())
        .ok()
        .and_then(|hash| hash.try_into().ok())
        .unwrap_or_default();
    chain
        .follow(&line, &hash)
        .map_err(|error| broken(error.to_string()))
}

fn broken(what: String) -> Failure {
    Failure::Other(format!(
        "the audit log does not hold: {what}; compare it with a backup"
    ))
}

fn parse_noted(text: &str) -> Result<AuditHead, Failure> {
    let head = text.split_once(':').and_then(|(id, hash)| {
        let hash = hash.to_ascii_lowercase();
        (hash.len() == 64).then_some(AuditHead {
            id: id.parse().ok()?,
            hash,
        })
    });
    head.ok_or_else(|| {
        Failure::Usage("--noted takes what `controller audit verify` printed: LINE:HASH".to_owned())
    })
}

fn table(entries: &[AuditEntry]) -> Table {
    let side = |side: &Option<serde_json::Value>| {
        side.as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    Table::new(
        [
            "LINE",
            "TIME",
            "ACTOR",
            "ACTION",
            "NETWORK",
            "SUBJECT",
            "BEFORE -> AFTER",
        ],
        entries.iter().map(|entry| {
            [
                entry.id.to_string(),
                entry.at.to_string(),
                entry.actor.clone(),
                entry.action.clone(),
                entry
                    .network
                    .map_or_else(|| "-".to_owned(), |id| id.to_string()),
                entry.subject.clone(),
                format!("{} -> {}", side(&entry.before), side(&entry.after)),
            ]
        }),
    )
}
