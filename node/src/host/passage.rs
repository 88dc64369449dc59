//! Lets packets for the prefixes that this member carries pass the host's firewall, and nothing else.
//!
//! Docker sets the policy of the FORWARD chain to DROP, and from version 28 on it drops packets for containers that come
//! from another interface than the container's bridge. It also hides containers behind the host's address on the way to
//! any other network. Here an exception is made for each carried prefix on the TUN it is reached by: two rules that accept,
//! and one that leaves the container its address. Other firewalls with a DROP policy get the same two rules.
//! What [`crate::docker`] lets through already is left to it. Of an exit, two rules let members out by the host's own
//! default route, and answers back in.

mod iptables;
mod nat;

use std::{collections::BTreeSet, net::IpAddr};

use tokio::{sync::watch, task::JoinHandle};
use tombolo_containers::{
    firewall,
    ruleset::{Backend, Saved},
};
use tombolo_engine::reconcile::{Carried, Exit};

use super::{
    nftables,
    program::{is_missing, run},
    sysctl,
};
use crate::docker::Opened;

/// Has the check of the way back (`rp_filter`) take marks into account. Stays on: few packets carry one.
const VALID_MARK: &str = "net/ipv4/conf/all/src_valid_mark";

/// What is to pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passing {
    /// What is reached through this host.
    pub carried: BTreeSet<Carried>,
    /// Where members leave the overlay here.
    pub exits: BTreeSet<Exit>,
    /// Addresses of this host where connections from outside go on although the default route leads into the overlay.
    pub answering: BTreeSet<IpAddr>,
}

impl Passing {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Keeps the exceptions. That takes programs, so it is done on a task of its own, and nobody waits for it.
#[derive(Debug)]
pub struct Passage {
    wanted: watch::Sender<Passing>,
    task: JoinHandle<()>,
}

impl Passage {
    /// Starts without exceptions; none will be made for what is opened.
    #[must_use]
    pub fn start(mut opened: watch::Receiver<Opened>) -> Self {
        let (wanted, mut news) = watch::channel(Passing::default());
        let task = tokio::spawn(async move {
            let mut exceptions = Exceptions::default();
            loop {
                tokio::select! {
                    changed = news.changed() => if changed.is_err() { return },
                    Ok(()) = opened.changed() => {}
                }
                let mut passing = news.borrow_and_update().clone();
                passing.carried = left_over(&passing.carried, &opened.borrow_and_update());
                exceptions.bring(&passing).await;
            }
        });
        Self { wanted, task }
    }

    /// Has the exceptions brought to exactly this, and looks again even if it is the same.
    pub fn ensure(&self, passing: Passing) {
        self.wanted.send_replace(passing);
    }

    /// Removes all exceptions, and returns when that is done.
    pub async fn withdraw(self) {
        self.ensure(Passing::default());
        drop(self.wanted);
        // It ends once it has seen the last wish.
        let _ = self.task.await;
    }
}

/// What is carried and not opened by somebody else.
fn left_over(carried: &BTreeSet<Carried>, opened: &Opened) -> BTreeSet<Carried> {
    let is_opened = |one: &Carried| {
        opened
            .iter()
            .any(|(link, prefix)| link == one.link.as_str() && prefix.contains(&one.prefix))
    };
    let left = carried.iter().filter(|one| !is_opened(one));
    left.cloned().collect()
}

/// The exceptions, as far as they were made.
#[derive(Debug, Default)]
struct Exceptions {
    /// The script that nft carried out last; none yet means that an earlier process may have left something.
    nat: Option<String>,
    told: BTreeSet<String>,
}

impl Exceptions {
    /// Brings them to exactly this; nothing removes them all. Says once what it cannot do.
    async fn bring(&mut self, passing: &Passing) {
        if passing.is_nothing() && self.nat.as_deref() == Some(nat::NOTHING) {
            return;
        }
        let mut docker = false;
        for backend in Backend::ALL {
            match accept(backend, passing).await {
                Ok(found) => docker |= found,
                Err(error) => self.tell(&error),
            }
        }
        let script = nat::script(passing, docker);
        if self.nat.as_ref() != Some(&script) {
            match nftables::load(&script).await {
                Err(error) if !is_missing(&error) || script != nat::NOTHING => self.tell(&error),
                Ok(()) | Err(_) => self.nat = Some(script),
            }
        }
        if passing.answering.iter().any(IpAddr::is_ipv4)
            && let Err(error) = mind_marks()
        {
            self.tell(&error);
        }
    }

    fn tell(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        if self.told.insert(text.clone()) {
            tracing::warn!(
                "The firewall may hold up packets for containers behind this member: {text}"
            );
        }
    }
}

fn mind_marks() -> anyhow::Result<()> {
    if sysctl::get(VALID_MARK)? != "0" {
        return Ok(());
    }
    sysctl::set(VALID_MARK, "1")
}

/// Brings one family's accepting rules to what is to pass; whether Docker filters there.
async fn accept(backend: Backend, passing: &Passing) -> anyhow::Result<bool> {
    let save = format!("{}-save", backend.program());
    let saved = match run(&save, [""; 0], "").await {
        // A host without the program has no rules of its kind.
        Err(error) if is_missing(&error) => return Ok(false),
        saved => Saved::parse(backend, &saved?),
    };
    let wanted = iptables::rules(backend, &saved, passing);
    for step in firewall::actions_among(iptables::MARK, &wanted, &saved) {
        run(backend.program(), step.arguments(), "").await?;
    }
    Ok(firewall::has_docker(&saved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_on_the_same_link_is_left_to_who_opened_it() {
        let carried = [
            ("tmb0", "10.240.1.0/24"),
            ("tmb0", "fc9c::1:0:0/96"),
            ("tmb0", "10.9.0.0/16"),
            ("tmb1", "10.240.1.0/24"),
        ];
        let carried = carried.map(|(link, prefix)| Carried {
            link: link.parse().expect("a link name"),
            prefix: prefix.parse().expect("a prefix"),
            on_lan: false,
        });
        let opened = ["10.240.1.0/24", "fc9c::1:0:0/96", "10.9.0.0/24"]
            .map(|prefix| ("tmb0".to_owned(), prefix.parse().expect("a prefix")));

        let left = left_over(&carried.clone().into(), &opened.into());

        assert_eq!(left, [carried[2].clone(), carried[3].clone()].into());
    }
}
