//! Changing networks: load, decide, sign, commit, publish; and again from the start if somebody else was faster.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dashmap::DashMap;
use tokio::sync::Notify;
use tombolo_domain::{
    change::Change,
    command::{Command, SettingsPatch},
    compile::compile,
    decide::decide,
    network::Network,
    refusal::Refusal,
    settings::Settings,
};
use tombolo_proto::{
    control::Standing,
    id::{Epoch, NetworkId, UnixSeconds, Version},
    key::IdentityKey,
    link::JoinLink,
};

use crate::{
    announced::Announced,
    blobs::Blobs,
    publish::{Push, Registry},
    signer::Signer,
    store::{Actor, Commit, CommitError, Deed, Kept, Loaded, SignedDocument, Store, StoreError},
    telling::{Step, Telling},
};

mod following;
mod joining;
mod trace;
mod wish;
mod writer;

pub(crate) use joining::JoinWish;
use joining::Joins;
pub use wish::ChangeError;
pub(crate) use wish::{Answering, Wish};
use writer::{Committing, Writer};

/// Somebody else winning this often in a row means something is wrong.
const ATTEMPTS: usize = 64;
/// Longest pause before another attempt: replicas that collide shall not do so again.
const PAUSE_MILLISECONDS: u64 = 20;
/// A request that nobody decided on for a week is forgotten.
const REQUEST_LIFETIME_SECONDS: u64 = 7 * 24 * 3600;

/// How the stream of events calls a step that moved the revision.
const CHANGED: &str = "changed";

/// What a decision came to.
#[derive(Debug)]
struct Done {
    changes: Vec<Change>,
    documents: Vec<SignedDocument>,
    epoch: Epoch,
    answer: Option<Kept>,
}

/// All networks of this controller.
#[derive(Debug)]
pub struct Networks {
    store: Store,
    signer: Arc<Signer>,
    registry: Arc<Registry>,
    loaded: DashMap<NetworkId, Arc<Loaded>>,
    writers: DashMap<NetworkId, Arc<Writer>>,
    /// What the nodes that follow a network here were told last.
    told: DashMap<NetworkId, Arc<Loaded>>,
    pub(crate) announced: Arc<Announced>,
    blobs: Blobs,
    pub(crate) telling: Telling,
    /// Hints that there is something in the store that nobody here was told.
    pub(crate) behind: Arc<Notify>,
}

impl Networks {
    pub(crate) fn new(store: Store, signer: Arc<Signer>, registry: Arc<Registry>) -> Self {
        let announced = Arc::<Announced>::default();
        Self {
            telling: Telling::new(Arc::clone(&registry), Arc::clone(&announced)),
            announced,
            store,
            signer,
            registry,
            loaded: DashMap::new(),
            writers: DashMap::new(),
            told: DashMap::new(),
            blobs: Blobs::default(),
            behind: Arc::default(),
        }
    }

    /// A network as the store holds it now; while the store is unreachable, as it was last known.
    pub(crate) async fn load(&self, id: NetworkId) -> Result<Option<Arc<Loaded>>, StoreError> {
        match self.refresh(id).await {
            Err(error) if error.is_outage() => {
                self.store.health().suspect(&error);
                Ok(self.loaded.get(&id).map(|known| Arc::clone(&known)))
            }
            answered => answered,
        }
    }

    /// What another replica changed is read by one for all who ask meanwhile.
    async fn refresh(&self, id: NetworkId) -> Result<Option<Arc<Loaded>>, StoreError> {
        if let Some(sequence) = self.store.sequence(id).await?
            && let Some(known) = self.known_as(id, sequence)
        {
            return Ok(Some(known));
        }
        let writer = self.writer(id);
        let _refreshing = writer.refreshing.lock().await;
        self.load_fresh(id).await
    }

    async fn load_fresh(&self, id: NetworkId) -> Result<Option<Arc<Loaded>>, StoreError> {
        let Some(sequence) = self.store.sequence(id).await? else {
            self.loaded.remove(&id);
            self.writers.remove(&id);
            return Ok(None);
        };
        if let Some(known) = self.known_as(id, sequence) {
            return Ok(Some(known));
        }
        let known = self.loaded.get(&id).map(|known| Arc::clone(&known));
        let loaded = match known {
            Some(known) => self.store.load_again(&known).await?,
            None => self.store.load(id).await?,
        };
        let loaded = loaded.map(Arc::new);
        if let Some(loaded) = &loaded {
            self.loaded.insert(id, Arc::clone(loaded));
        }
        Ok(loaded)
    }

    /// What is known of a network, if that is its state as of this sequence; or the one before it, while the change in
    /// between is one of this replica that nobody was told to have happened.
    fn known_as(&self, id: NetworkId, sequence: u64) -> Option<Arc<Loaded>> {
        let known = || self.loaded.get(&id).map(|known| Arc::clone(&known));
        let is_known = |known: &Arc<Loaded>| known.sequence == sequence;
        known().filter(is_known).or_else(|| {
            let before = known();
            let committing = self.writers.get(&id).map(|writer| Arc::clone(&writer))?;
            if committing.committing.load(Ordering::Acquire) == sequence {
                before.filter(|before| before.sequence + 1 == sequence)
            } else {
                // It may have come to its end between the two looks.
                known().filter(is_known)
            }
        })
    }

    /// Like [`Self::load`], for callers that need the network to be there.
    pub(crate) async fn get(&self, id: NetworkId) -> Result<Arc<Loaded>, ChangeError> {
        self.load(id).await?.ok_or(ChangeError::UnknownNetwork)
    }

    /// Makes a network: with an id of the caller's choice, of which there never was one, or with any.
    pub(crate) async fn create(
        &self,
        chosen: Option<NetworkId>,
        settings: Settings,
        actor: &Actor,
        answer: Answering<'_>,
    ) -> Result<Network, ChangeError> {
        for _ in 0..ATTEMPTS {
            let epoch = self.may_sign()?;
            let id = chosen.unwrap_or_else(|| {
                let number = rand::random_range(1..1 << 24);
                NetworkId::new(self.signer.authority(), number)
                    .expect("1 to 2^24 - 1 is a network number")
            });
            let blank = Network::new(id, settings.clone());
            let now = self.store.now().await?;
            let changes = decide(Command::Configure(SettingsPatch::default()), &blank, now)?;
            let (after, documents) = self.prepare(&blank, &changes, epoch, now);
            let kept = answer(&after);
            let commit = Commit {
                after: &after,
                epoch,
                expected: None,
                changes: &changes,
                documents: &documents,
                deeds: &[Deed {
                    token: None,
                    actor,
                    action: "network.create",
                    subject: settings.name.as_str(),
                    trace: &trace::made(&after),
                }],
                event: CHANGED,
                answer: kept.as_ref(),
            };
            match self.store.commit(commit).await {
                Ok(sequence) => {
                    self.blobs.add(id, &documents);
                    self.blobs.set_whole(id, epoch);
                    let network = after.clone();
                    self.told.insert(id, Arc::new(Loaded { network, sequence }));
                    self.registry.tell(id, Some(after.revision()), CHANGED);
                    return Ok(after);
                }
                Err(CommitError::Conflict) if chosen.is_some() => return Err(ChangeError::Busy),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Epoch) => self.take_keyring().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeError::Busy)
    }

    /// Changes a network. `command` is asked anew for every attempt, with the network as it is then.
    pub(crate) async fn change(
        &self,
        id: NetworkId,
        wish: Wish<'_>,
        command: impl Fn(&Network, UnixSeconds) -> Result<Command, ChangeError>,
    ) -> Result<Network, ChangeError> {
        let writer = self.writer(id);
        let _turn = writer.turn.lock().await;
        self.change_in_turn(id, wish, command).await
    }

    /// The caller holds the network's turn.
    async fn change_in_turn(
        &self,
        id: NetworkId,
        wish: Wish<'_>,
        command: impl Fn(&Network, UnixSeconds) -> Result<Command, ChangeError>,
    ) -> Result<Network, ChangeError> {
        for attempt in 0..ATTEMPTS {
            pause_before(attempt).await;
            let epoch = self.may_sign()?;
            let turn = self.store.turn(id).await?;
            let loaded = self
                .load_fresh(id)
                .await?
                .ok_or(ChangeError::UnknownNetwork)?;
            let before = &loaded.network;
            let now = self.store.now().await?;
            let changes = decide(command(before, now)?, before, now)?;
            if changes.is_empty() {
                return Ok(before.clone());
            }
            let (after, documents) = self.prepare(before, &changes, epoch, now);
            let trace = trace::of(before, &after, &changes);
            let done = Done {
                changes,
                documents,
                epoch,
                answer: wish.answer.and_then(|answer| answer(&after)),
            };
            let committed = self
                .commit(&loaded, &after, done, &[wish.deed(&trace)], &wish.answered)
                .await;
            turn.release().await;
            match committed {
                Ok(()) => return Ok(after),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Epoch) => self.take_keyring().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeError::Busy)
    }

    /// Writes a step down and tells everybody. Nodes that are `answered` need not be told their own standing.
    async fn commit(
        &self,
        loaded: &Arc<Loaded>,
        after: &Network,
        done: Done,
        deeds: &[Deed<'_>],
        answered: &BTreeSet<IdentityKey>,
    ) -> Result<(), CommitError> {
        let id = after.id();
        let writer = self.writer(id);
        let _committing = Committing::begin(&writer, loaded.sequence + 1);
        let sequence = self
            .store
            .commit(Commit {
                after,
                epoch: done.epoch,
                expected: Some(loaded.sequence),
                changes: &done.changes,
                documents: &done.documents,
                deeds,
                event: event(&loaded.network, after),
                answer: done.answer.as_ref(),
            })
            .await?;
        let kept = Arc::new(Loaded {
            network: after.clone(),
            sequence,
        });
        self.loaded.insert(id, Arc::clone(&kept));
        self.publish(&loaded.network, after, &done, answered);
        // What others did before this and nobody here was told yet is still to be found.
        if let Some(mut told) = self.told.get_mut(&id)
            && told.sequence == loaded.sequence
        {
            *told = kept;
        } else {
            self.behind.notify_one();
        }
        Ok(())
    }

    fn writer(&self, id: NetworkId) -> Arc<Writer> {
        Arc::clone(&self.writers.entry(id).or_default())
    }

    /// Deletes a network with everything in it.
    pub(crate) async fn remove(&self, id: NetworkId, actor: &Actor) -> Result<(), ChangeError> {
        let writer = self.writer(id);
        let _turn = writer.turn.lock().await;
        let known = self.load_fresh(id).await?;
        let trace = known.map(|known| trace::removed(&known.network));
        let trace = trace.unwrap_or_default();
        let removed = self.store.remove_network(id, actor, &trace).await?;
        self.forget(id);
        if !removed {
            return Err(ChangeError::UnknownNetwork);
        }
        self.registry
            .publish(id, &Push::Standing(id, Standing::NotFound));
        self.registry.tell(id, None, "deleted");
        Ok(())
    }

    /// Renews certificates and forgets what is too old, in every network. Revocations are never too old: by a clock that
    /// is wrong they would be, and a node that was away would let removed members in again.
    pub(crate) async fn upkeep(&self) -> Result<(), ChangeError> {
        if !self.signer.is_admitted() {
            return Ok(());
        }
        let wish = || Wish::new(&Actor::Controller, "upkeep", String::new());
        let mut after = None;
        loop {
            let ids = self.store.network_ids(after, 100).await?;
            let Some(last) = ids.last() else { break };
            after = Some(*last);
            for id in ids {
                let done = self
                    .change(id, wish(), |_, now| {
                        Ok(Command::Upkeep {
                            requests_since: UnixSeconds(
                                now.0.saturating_sub(REQUEST_LIFETIME_SECONDS),
                            ),
                        })
                    })
                    .await;
                match done {
                    Ok(_) | Err(ChangeError::UnknownNetwork) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.store.forget_old_join_tokens().await?;
        self.store.forget_strangers().await?;
        self.store.forget_old_answers().await?;
        Ok(())
    }

    /// What `node join` takes.
    pub(crate) fn join_link(&self, network: NetworkId, token: Option<String>) -> String {
        JoinLink {
            network,
            authority: self.signer.root().digest(),
            controllers: self.signer.held().keyring.endpoints.clone(),
            token,
        }
        .to_string()
    }

    /// The epoch to sign in, if this replica may.
    fn may_sign(&self) -> Result<Epoch, ChangeError> {
        if self.signer.is_admitted() {
            Ok(self.signer.epoch())
        } else {
            Err(ChangeError::NotAdmitted)
        }
    }

    fn prepare(
        &self,
        before: &Network,
        changes: &[Change],
        epoch: Epoch,
        now: UnixSeconds,
    ) -> (Network, Vec<SignedDocument>) {
        let after = before.apply(changes);
        let due = compile(before, &after, changes, epoch, now);
        let documents = self.signer.sign(after.id(), &due);
        (after, documents)
    }

    /// Standings first: a node that is out shall not see the change that threw it out as a member would.
    fn publish(
        &self,
        before: &Network,
        after: &Network,
        done: &Done,
        answered: &BTreeSet<IdentityKey>,
    ) {
        let network = after.id();
        self.blobs.add(network, &done.documents);
        let concerned: BTreeSet<IdentityKey> = done.changes.iter().filter_map(concerned).collect();
        for identity in concerned.difference(answered) {
            let standing = standing(after, identity);
            if standing != self::standing(before, identity) {
                self.registry
                    .push(identity, Push::Standing(network, standing));
            }
        }
        if after.revision() == before.revision() {
            self.registry
                .tell(network, Some(after.revision()), event(before, after));
            return;
        }
        let version = |of: &Network| Version {
            epoch: done.epoch,
            revision: of.revision(),
        };
        self.telling.tell(&Step {
            before,
            after,
            versions: (version(before), version(after)),
            documents: &done.documents,
        });
        self.registry.tell(network, Some(after.revision()), CHANGED);
    }
}

/// Gives a writer that was faster room to be through before the next attempt.
async fn pause_before(attempt: usize) {
    if attempt > 0 {
        let pause = rand::random_range(0..PAUSE_MILLISECONDS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// What readers of the event stream are told of a step: requests move no revision.
fn event(before: &Network, after: &Network) -> &'static str {
    if after.revision() == before.revision() {
        "requests"
    } else {
        CHANGED
    }
}

/// Where a node stands in a network.
pub(crate) fn standing(network: &Network, identity: &IdentityKey) -> Standing {
    match network.member(identity) {
        Some(member) if member.is_authorized() => Standing::Member,
        Some(_) => Standing::Denied {
            reason: Refusal::Deauthorized.to_string(),
        },
        None if network.request(identity).is_some() => Standing::Pending,
        None => Standing::Denied {
            reason: "this node was deleted from the network: join again to ask anew".to_owned(),
        },
    }
}

fn concerned(change: &Change) -> Option<IdentityKey> {
    match change {
        Change::MemberPut(member) => Some(member.identity),
        Change::RequestPut(request) => Some(request.identity),
        Change::MemberRemoved(identity) | Change::RequestRemoved(identity) => Some(*identity),
        Change::Settings(_) | Change::RoutePut(_) | Change::RouteRemoved(_) => None,
    }
}
