//! Looks at the host's firewall and changes what is ours in it, with the programs that Docker uses itself.

use std::collections::BTreeSet;

use anyhow::Context as _;
use tombolo_containers::{
    firewall::{self, Opening},
    nft,
    ruleset::{Backend, Saved},
};

use crate::host::{nftables, program::run};

/// Brings rules and table to what these openings need. Tells how many rules of ours there are afterwards.
pub(super) async fn settle(
    openings: &[&Opening],
    links: &BTreeSet<String>,
) -> anyhow::Result<usize> {
    let mut count = 0;
    for backend in Backend::ALL {
        let Some(saved) = saved(backend, !openings.is_empty()).await? else {
            continue;
        };
        let desired = firewall::desired(openings.iter().copied(), backend, &saved);
        for action in firewall::actions(&desired, &saved) {
            run(backend.program(), action.arguments(), "")
                .await
                .with_context(|| format!("`{action}` failed"))?;
        }
        count += desired.len();
    }
    let table = nft::table(openings, links);
    if mark().await != table.mark {
        nftables::load(&table.script).await?;
    }
    Ok(count)
}

/// What is missing for these openings, one line each; nothing is changed.
pub(super) async fn missing(
    openings: &[&Opening],
    links: &BTreeSet<String>,
) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    for backend in Backend::ALL {
        if let Some(saved) = saved(backend, !openings.is_empty()).await? {
            let desired = firewall::desired(openings.iter().copied(), backend, &saved);
            let steps = firewall::actions(&desired, &saved);
            missing.extend(steps.iter().map(ToString::to_string));
        }
    }
    if mark().await != nft::table(openings, links).mark {
        missing.push(format!("nft table {}", nft::TABLE));
    }
    Ok(missing)
}

/// What the rules are. Without the program there are none, which is fine as long as none are needed.
async fn saved(backend: Backend, needed: bool) -> anyhow::Result<Option<Saved>> {
    let program = format!("{}-save", backend.program());
    match run(&program, [""; 0], "").await {
        Ok(text) => Ok(Some(Saved::parse(backend, &text))),
        Err(_) if !needed => Ok(None),
        Err(error) => Err(error),
    }
}

/// The mark in our nftables table, if the table is there.
async fn mark() -> Option<String> {
    let words = ["list", "table"].into_iter().chain(nft::TABLE.split(' '));
    let text = run("nft", words, "").await.ok()?;
    let comment = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("comment "))?;
    Some(comment.trim_matches('"').to_owned())
}
