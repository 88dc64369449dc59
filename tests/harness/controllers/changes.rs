//! How a replica changes the network: loads, decides, compiles and signs, and commits unless somebody was faster.

use std::{sync::Arc, time::Duration};

use rand::Rng as _;
use tombolo_domain::{command::Command, compile::compile, decide::decide, network::Network};
use tombolo_proto::{control::Standing, id::UnixSeconds};

use super::{
    Answer, Controllers, Due, Wish,
    replica::{self, standing},
    signing,
    store::{self, Commit},
};
use crate::clock::Clock;

/// Longest time from loading to committing.
const COMMIT_MILLISECONDS: u64 = 60;
/// From a commit to the answer.
const ANSWER: Duration = Duration::from_millis(10);

impl Controllers {
    /// Asks a replica for a change; the answer comes in [`Self::answers`].
    pub fn ask(&mut self, replica: usize, number: u64, command: Command, clock: &Clock) {
        let wish = Wish {
            number,
            command,
            asker: None,
        };
        self.take(replica, wish, clock);
    }

    pub(super) fn take(&mut self, replica: usize, wish: Wish, clock: &Clock) {
        if !self.replicas[replica].is_up {
            self.answers.push((wish.number, Answer::Unavailable));
            return;
        }
        self.replicas[replica].wishes.push_back(wish);
        if self.replicas[replica].in_work.is_none() {
            self.work(replica, clock);
        }
    }

    /// Takes up the next wishes, until one needs a commit.
    fn work(&mut self, replica: usize, clock: &Clock) {
        while let Some(wish) = self.replicas[replica].wishes.pop_front() {
            if !self.reaches_store(replica) || !self.replicas[replica].is_admitted() {
                self.answer(replica, wish, Answer::Unavailable, clock);
                continue;
            }
            match self.prepare(replica, &wish, clock) {
                Err(refusal) => self.answer(replica, wish, Answer::Refused(refusal), clock),
                Ok(None) => self.answer(replica, wish, Answer::Unchanged, clock),
                Ok(Some((commit, after))) => {
                    self.replicas[replica].in_work = Some((wish, commit, after));
                    let pause = self.rng.random_range(1..=COMMIT_MILLISECONDS);
                    let at = clock.now() + Duration::from_millis(pause);
                    self.schedule(replica, at, Due::Commit);
                    return;
                }
            }
        }
    }

    /// Loads, decides, compiles and signs; nothing if everything is as wished.
    pub(super) fn prepare(
        &self,
        replica: usize,
        wish: &Wish,
        clock: &Clock,
    ) -> Result<Option<(Commit, Arc<Network>)>, String> {
        let replica = &self.replicas[replica];
        let before = self.store.network();
        let now = self.store.now(clock);
        let changes =
            decide(wish.command.clone(), before, now).map_err(|refusal| refusal.to_string())?;
        if changes.is_empty() {
            return Ok(None);
        }
        let after = before.apply(&changes);
        let epoch = replica.keyring.0.version.epoch;
        let due = compile(before, &after, &changes, epoch, now);
        let documents = signing::sign(after.id(), due, &replica.secret);
        let commit = Commit {
            wish: wish.number,
            command: wish.command.clone(),
            expected: self.store.sequence(),
            epoch,
            changes,
            documents,
        };
        Ok(Some((commit, Arc::new(after))))
    }

    pub(super) fn commit(&mut self, replica: usize, clock: &Clock) {
        let Some((wish, commit, after)) = self.replicas[replica].in_work.take() else {
            return;
        };
        if !self.reaches_store(replica) {
            self.answer(replica, wish, Answer::Unavailable, clock);
            self.work(replica, clock);
            return;
        }
        let before = Arc::clone(self.store.network());
        let (expected, documents) = (commit.expected, commit.documents.clone());
        match self.store.commit(commit) {
            Err(store::Refused::Conflict) => {
                self.replicas[replica].take_keyring(&self.store);
                self.replicas[replica].wishes.push_front(wish);
            }
            Ok(()) => {
                let known = replica::Known {
                    network: Arc::clone(&after),
                    sequence: self.store.sequence(),
                };
                let publisher = &mut self.replicas[replica];
                publisher.publish(&before, &after, &documents, wish.asker, Some(&self.store));
                // What others did before this and nobody here was told yet is still to be found.
                if let Some(told) = &mut publisher.told
                    && told.sequence == expected
                {
                    *told = known;
                }
                self.hint(replica, clock.now());
                self.answer(replica, wish, Answer::Done, clock);
            }
        }
        self.work(replica, clock);
    }

    fn answer(&mut self, replica: usize, wish: Wish, answer: Answer, clock: &Clock) {
        self.schedule(replica, clock.now() + ANSWER, Due::Answer(wish, answer));
    }

    pub(super) fn deliver_answer(&mut self, replica: usize, wish: Wish, answer: Answer) {
        let Some(node) = wish.asker else {
            self.answers.push((wish.number, answer));
            return;
        };
        let Command::Join { request, .. } = &wish.command else {
            return;
        };
        let known = if self.reaches_store(replica) {
            Some(Arc::clone(self.store.network()))
        } else {
            let told = self.replicas[replica].told.as_ref();
            told.map(|told| Arc::clone(&told.network))
        };
        let standing = match answer {
            Answer::Done | Answer::Unchanged => {
                known.map(|known| standing(&known, &request.identity))
            }
            Answer::Refused(reason) => Some(Standing::Denied { reason }),
            // While the store is away, members stay what they are, and nobody becomes one.
            Answer::Unavailable => known
                .map(|known| standing(&known, &request.identity))
                .filter(|standing| *standing == Standing::Member),
        };
        let network = self.store.network().id();
        let standing = standing.unwrap_or(Standing::Busy);
        self.replicas[replica].say_standing(node, network, standing);
    }

    /// Renews certificates.
    pub fn upkeep(&mut self, replica: usize, number: u64, clock: &Clock) {
        if self.replicas[replica].is_up && self.reaches_store(replica) {
            let requests_since = UnixSeconds(0);
            self.ask(replica, number, Command::Upkeep { requests_since }, clock);
        }
    }
}
