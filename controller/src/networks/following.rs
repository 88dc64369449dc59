//! What other replicas did, and what is still served while the store is away.

use std::{collections::BTreeSet, sync::Arc};

use tombolo_domain::{member::Member, network::Network};
use tombolo_proto::{
    control::{self, Standing, ToNode},
    id::{NetworkId, UnixSeconds, Version},
    key::IdentityKey,
};

use super::{Networks, standing};
use crate::{
    announced::OVERLAP_SECONDS,
    publish::Push,
    store::{DirectoryPart, Loaded, StoreError},
    telling::Step,
};

impl Networks {
    /// This replica's key.
    pub(crate) fn replica(&self) -> IdentityKey {
        self.signer.replica().public()
    }

    /// Takes the store's keyring if it is newer, and tells everybody who is connected.
    pub(crate) async fn take_keyring(&self) -> Result<(), StoreError> {
        let Some(stored) = self.store.authority().await? else {
            return Ok(());
        };
        let (epoch, was_admitted) = (self.signer.epoch(), self.signer.is_admitted());
        match self.signer.take(stored.keyring) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => {
                tracing::error!(%error, "the store holds a keyring that the root key did not sign: not taken");
                return Ok(());
            }
        }
        tracing::info!(version = ?stored.version, "took a new keyring");
        match (was_admitted, self.signer.is_admitted()) {
            (false, true) => tracing::info!("this replica is in the keyring now"),
            (true, false) => {
                tracing::error!("this replica was revoked: it signs and serves nodes no more");
            }
            _ => {}
        }
        if self.signer.epoch() > epoch {
            self.blobs.forget_all();
        }
        self.registry.publish_to_all(&Push::Keyring);
        Ok(())
    }

    /// Sends every node away if there is another replica: that one may still hear of changes. Those that find no better
    /// one come back and stay.
    pub(crate) fn release_nodes(&self) {
        if self.signer.held().keyring.replicas.len() > 1 {
            tracing::warn!(
                "out of the store's reach for too long: sending nodes to other replicas"
            );
            self.registry.publish_to_all(&Push::Stranded);
        }
    }

    /// Tells the nodes that are connected here what other replicas changed.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        let heads = self.store.heads().await?;
        for head in &heads {
            let told = self
                .told
                .get(&head.network)
                .map(|known| Arc::clone(known.value()));
            if told
                .as_ref()
                .is_none_or(|told| told.sequence < head.sequence)
            {
                self.catch_up_with(head.network, told).await?;
            }
        }
        let there: BTreeSet<NetworkId> = heads.iter().map(|head| head.network).collect();
        let missing: Vec<NetworkId> = self
            .told
            .iter()
            .map(|known| *known.key())
            .filter(|network| !there.contains(network))
            .collect();
        for network in missing {
            // It may be newer than the list.
            if self.store.sequence(network).await?.is_none() {
                self.forget(network);
                self.registry
                    .publish(network, &Push::Standing(network, Standing::NotFound));
                self.registry.tell(network, None, "deleted");
            }
        }
        Ok(())
    }

    async fn catch_up_with(
        &self,
        network: NetworkId,
        told: Option<Arc<Loaded>>,
    ) -> Result<(), StoreError> {
        let epoch = self.signer.epoch();
        let Some(now) = self.load_fresh(network).await? else {
            return Ok(());
        };
        if told
            .as_ref()
            .is_some_and(|told| told.sequence >= now.sequence)
        {
            return Ok(());
        }
        let version = |loaded: &Loaded| Version {
            epoch,
            revision: loaded.network.revision(),
        };
        let have = match told.as_deref() {
            Some(told) if self.blobs.is_whole(network, epoch) => version(told),
            _ => Version::default(),
        };
        let documents = self.store.documents_above(network, have).await?;
        self.blobs.add(network, &documents);
        self.blobs.set_whole(network, epoch);
        self.told.insert(network, Arc::clone(&now));
        let Some(before) = told else {
            // Whoever was faster than the first look has missed nothing then.
            if self.registry.follower_count(network) > 0 {
                self.telling.tell(&Step {
                    before: &now.network,
                    after: &now.network,
                    versions: (Version::default(), version(&now)),
                    documents: &documents,
                });
            }
            return Ok(());
        };
        for identity in self.registry.followers(network) {
            let standing = standing(&now.network, &identity);
            if standing != self::standing(&before.network, &identity) {
                self.registry
                    .push(&identity, Push::Standing(network, standing));
            }
        }
        if now.network.revision() == before.network.revision() {
            self.registry
                .tell(network, Some(now.network.revision()), "requests");
            return Ok(());
        }
        self.telling.tell(&Step {
            before: &before.network,
            after: &now.network,
            versions: (version(&before), version(&now)),
            documents: &documents,
        });
        self.registry
            .tell(network, Some(now.network.revision()), "changed");
        Ok(())
    }

    pub(super) fn forget(&self, network: NetworkId) {
        self.loaded.remove(&network);
        self.told.remove(&network);
        self.blobs.forget(network);
        self.telling.forget(network);
        self.announced.forget(network);
    }

    /// Passes on announcements that other replicas took until `now`.
    pub(crate) async fn take_announcements(&self, now: UnixSeconds) -> Result<(), StoreError> {
        let looked = self.announced.looked().unwrap_or(UnixSeconds(0));
        let since = UnixSeconds(looked.0.saturating_sub(OVERLAP_SECONDS));
        let found = self
            .store
            .announced_since(since, |network, identity, sequence| {
                !self.announced.has(network, identity, sequence)
            })
            .await?;
        for it in found {
            let order = (it.sequence, it.stored_at);
            let is_news = self
                .announced
                .put(it.network, it.identity, order, &it.announcement);
            // Whoever comes gets all that is held: what the first look finds is news to those only who came before it.
            let is_first = looked == UnixSeconds(0);
            if is_news && (!is_first || self.registry.follower_count(it.network) > 0) {
                self.telling
                    .announce(it.network, it.identity, it.announcement);
            }
        }
        self.announced.set_looked(now);
        Ok(())
    }

    /// What members of a network announced since a moment, or all of it, for one of them. Until the store was looked
    /// through, it is asked.
    pub(crate) async fn announcements(
        &self,
        network: NetworkId,
        reader: &IdentityKey,
        since: Option<UnixSeconds>,
    ) -> Result<Vec<u8>, StoreError> {
        let Some(moment) = self.announced.looked() else {
            let announced = self.store.announcements(network).await?;
            let messages = announced
                .into_iter()
                .filter(|(identity, _)| identity != reader)
                .flat_map(|(identity, announcement)| {
                    control::encode(&ToNode::Endpoints {
                        network,
                        identity,
                        announcement,
                    })
                });
            return Ok(messages.collect());
        };
        let Some(known) = self.loaded.get(&network).map(|known| Arc::clone(&known)) else {
            return Ok(Vec::new());
        };
        let mut messages = self.announced.since(network, since, |identity| {
            identity != reader && is_authorized(&known.network, identity)
        });
        messages.extend(control::encode(&ToNode::EndpointsUpto { network, moment }));
        Ok(messages)
    }

    /// Ids of networks, in order, after the given one; while the store is unreachable, of those that are known.
    pub(crate) async fn ids(
        &self,
        after: Option<NetworkId>,
        limit: u32,
    ) -> Result<Vec<NetworkId>, StoreError> {
        match self.store.network_ids(after, limit).await {
            Err(error) if error.is_outage() => {
                let mut known: Vec<NetworkId> = self
                    .loaded
                    .iter()
                    .map(|loaded| *loaded.key())
                    .filter(|id| after.is_none_or(|after| *id > after))
                    .collect();
                known.sort();
                known.truncate(limit as usize);
                Ok(known)
            }
            answered => answered,
        }
    }

    /// How many networks there are, or are known of.
    pub(crate) async fn count(&self) -> Result<u64, StoreError> {
        match self.store.network_count().await {
            Err(error) if error.is_outage() => Ok(self.loaded.len() as u64),
            answered => answered,
        }
    }

    /// Every document above `have`, for a member; none if `reader` is not an authorised member. As a rule this replica holds
    /// them; the store is asked for what others may have written a moment ago. While it is unreachable, the documents count
    /// that were last seen in it.
    pub(crate) async fn directory(
        &self,
        network: NetworkId,
        reader: &IdentityKey,
        have: Version,
    ) -> Result<Option<DirectoryPart>, StoreError> {
        if let Some(part) = self.held_directory(network, reader, have) {
            return Ok(Some(part));
        }
        let epoch = self.signer.epoch();
        match self.store.directory(network, reader, have, epoch).await {
            Err(error) if error.is_outage() => {
                self.store.health().suspect(&error);
                let known = self.loaded.get(&network).map(|known| Arc::clone(&known));
                let Some(known) = known else {
                    return Err(error);
                };
                Ok(
                    is_authorized(&known.network, reader).then(|| DirectoryPart {
                        entries: self.blobs.above(network, have),
                        upto: Version {
                            epoch,
                            revision: known.network.revision(),
                        },
                    }),
                )
            }
            answered => answered,
        }
    }

    /// The same from what is held, if it is certain that nothing is missing up to a version that `have` is not above, and
    /// that `reader` is a member there. Whoever is none here may have become one elsewhere.
    fn held_directory(
        &self,
        network: NetworkId,
        reader: &IdentityKey,
        have: Version,
    ) -> Option<DirectoryPart> {
        let told = self
            .told
            .get(&network)
            .map(|told| Arc::clone(told.value()))?;
        let epoch = self.signer.epoch();
        let upto = Version {
            epoch,
            revision: told.network.revision(),
        };
        let is_whole = self.blobs.is_whole(network, epoch) && have <= upto;
        (is_whole && is_authorized(&told.network, reader)).then(|| DirectoryPart {
            entries: self.blobs.above(network, have),
            upto,
        })
    }
}

fn is_authorized(network: &Network, identity: &IdentityKey) -> bool {
    network.member(identity).is_some_and(Member::is_authorized)
}
