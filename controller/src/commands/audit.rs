//! `controller audit`

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::Value;
use tombolo_domain::audit::{Chain, Hash, Line};
use tombolo_proto::{
    api::{AuditEntry, AuditHead, Page},
    id::NetworkId,
};

use super::{Client, Failure, Output, table::Table};
use crate::{cli::AuditVerb, moment, store::AUDIT_FORGET as FORGET};

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
                let lines = verified.id - verified.forgotten;
                let forgotten = match verified.forgotten {
                    0 => String::new(),
                    last => format!(" Lines 1 to {last} were forgotten on purpose (--audit-keep)."),
                };
                format!(
                    "{lines} lines, each as it was written.{forgotten} Note this to tell later that none was rewritten: {}:{}",
                    verified.id, verified.hash
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
    /// The last line that was forgotten on purpose; 0 if none was.
    forgotten: u64,
}

/// Reads the whole log. Lines may be forgotten while it is read: then it is read again.
fn verify(client: &Client, noted: Option<&AuditHead>) -> Result<Verified, Failure> {
    let mut head: AuditHead = client.get("/audit/head")?;
    loop {
        let verified = verify_from(client, &head, noted);
        let now: AuditHead = client.get("/audit/head")?;
        if verified.is_ok() || now.forgotten_id == head.forgotten_id {
            return verified;
        }
        head = now;
    }
}

/// The head was asked for before: what is appended meanwhile lies beyond it.
fn verify_from(
    client: &Client,
    head: &AuditHead,
    noted: Option<&AuditHead>,
) -> Result<Verified, Failure> {
    let start = Chain {
        place: head.forgotten_id,
        hash: decoded(&head.forgotten_hash),
    };
    let mut noted = noted;
    if let Some(line) = noted
        && line.id <= start.place
        && start.place > 0
    {
        if line.id < start.place {
            return Err(Failure::Other(format!(
                "line {} was noted, but lines 1 to {} were forgotten on purpose: note a newer one",
                line.id, start.place
            )));
        }
        check_noted(line, &head.forgotten_hash)?;
        noted = None;
    }
    let mut chain = start;
    let mut passed_head = head.id == start.place;
    // The log says itself what was forgotten last.
    let mut told = None;
    loop {
        let page: Page<AuditEntry> =
            client.get(&format!("/audit?limit={PAGE}&after={}", chain.place))?;
        for entry in &page.items {
            follow(&mut chain, entry)?;
            if let Some(line) = noted.take_if(|noted| noted.id == entry.id) {
                check_noted(line, &entry.hash)?;
            }
            if entry.id <= head.id && entry.action == FORGET {
                told.clone_from(&entry.after);
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
    let says = |field: &str| told.as_ref().and_then(|told| told.get(field));
    let is_told = says("through").and_then(Value::as_u64) == Some(start.place)
        && says("hash").and_then(Value::as_str) == Some(head.forgotten_hash.as_str());
    if start.place > 0 && !is_told {
        return Err(broken(format!(
            "lines 1 to {} are missing, and the log does not say that they were forgotten on purpose",
            start.place
        )));
    }
    Ok(Verified {
        id: chain.place,
        hash: HEXLOWER.encode(&chain.hash),
        forgotten: start.place,
    })
}

fn check_noted(noted: &AuditHead, hash: &str) -> Result<(), Failure> {
    if noted.hash == hash {
        return Ok(());
    }
    Err(broken(format!(
        "line {} is not the one that was noted: the log was rewritten",
        noted.id
    )))
}

/// A hash that is none is not that of any line.
fn decoded(hash: &str) -> Hash {
    let bytes = HEXLOWER.decode(hash.as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or_default()
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
    chain
        .follow(&line, &decoded(&entry.hash))
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
            ..AuditHead::default()
        })
    });
    head.ok_or_else(|| {
        Failure::Usage(
            "--noted takes what `tombolo-controller audit verify` printed: LINE:HASH".to_owned(),
        )
    })
}

fn table(entries: &[AuditEntry]) -> Table {
    let side = |side: &Option<Value>| {
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
                moment::utc(entry.at),
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
