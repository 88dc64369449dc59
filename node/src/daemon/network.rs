//! One joined network as this node knows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tombolo_engine::{
    fib::NetworkSlot,
    membership::{Announcement, Directory, Refused},
    reconcile::{Clash, LinkName, NetworkPlan},
};
use tombolo_proto::{
    config::MemberCert,
    control::Standing,
    id::{NetworkId, UnixSeconds},
    key::IdentityKey,
    link::HostPort,
};

use super::gossip::Waiting;
use crate::{
    report::{NetworkStatus, NotTaken},
    state_dir::{
        NetworkFiles,
        settings::{NetworkSettings, PeerEndpoints},
    },
    sync::Problem,
};

/// A joined network.
pub(super) struct Network {
    pub(super) id: NetworkId,
    pub(super) files: NetworkFiles,
    pub(super) settings: NetworkSettings,
    pub(super) link: LinkName,
    /// The accepted documents; on disk before they are here, as long as the disk takes them.
    pub(super) directory: Option<Directory>,
    /// Directory parts that have come, until the last one has.
    pub(super) incoming: Option<Directory>,
    /// When documents of an epoch that is over count no more, as long as some do.
    pub(super) rollover_ends: Option<Instant>,
    /// Signs that a signing key is in other hands, one line each.
    pub(super) alarms: BTreeSet<String>,
    /// The controller's last word.
    pub(super) standing: Option<Standing>,
    /// When to ask again, if the controller's last word was not for ever.
    pub(super) ask_again: Option<Instant>,
    /// When to ask another controller, if this one said no.
    pub(super) second_opinion: Option<Instant>,
    /// Present while this node is a member and its TUN is up.
    pub(super) slot: Option<NetworkSlot>,
    pub(super) endpoints: PeerEndpoints,
    /// What members last said of where they are, this node included.
    pub(super) announcements: BTreeMap<IdentityKey, Announcement>,
    /// Where peers see this node.
    pub(super) seen: Vec<SocketAddr>,
    /// Members that relay for this node, as their addresses in the overlay, nearest first.
    pub(super) relays: Vec<IpAddr>,
    /// What peers have brought and nobody has looked at.
    pub(super) waiting: Waiting,
    pub(super) clashes: Vec<Clash>,
    pub(super) clashes_told: Vec<Clash>,
    /// Up to when a controller has told what other members announced, since this program started.
    pub(super) endpoints_upto: Option<UnixSeconds>,
    /// Why no controller could be used.
    pub(super) sync_problem: Option<Problem>,
    /// Why there is no TUN.
    pub(super) link_problem: Option<String>,
    /// The root key was believed because nothing else was known; said to the next `node join`.
    pub(super) trusted_on_first_use: bool,
    pub(super) unsaved: Unsaved,
    directory_rests: Option<Instant>,
    endpoints_saved: Option<Instant>,
    announcements_saved: Option<Instant>,
}

/// The directory of a large network is written in tens of milliseconds, and hundreds of members may come within a minute: so
/// many times as long passes before new members are written down again.
const DIRECTORY_RESTS: u32 = 20;
/// Endpoints are saved at once, so that a crash right after the first contact loses nothing, but not more often than this:
/// in a large network they come in bursts.
const ENDPOINTS_SAVED_EVERY: Duration = Duration::from_secs(1);
/// Announcements serve others; what this node needs of them is among the endpoints.
const ANNOUNCEMENTS_SAVED_EVERY: Duration = Duration::from_secs(10);

/// Alarms that are kept: who can sign can raise any number.
const MAX_ALARMS: usize = 8;

/// What the disk does not have yet.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    pub(super) settings: bool,
    pub(super) directory: bool,
    /// More than new members: nobody acts on it before it is on disk.
    pub(super) urgent: bool,
    pub(super) endpoints: bool,
    pub(super) announcements: bool,
}

impl Network {
    pub(super) fn new(
        id: NetworkId,
        files: NetworkFiles,
        settings: NetworkSettings,
        link: LinkName,
    ) -> Self {
        Self {
            id,
            files,
            settings,
            link,
            directory: None,
            incoming: None,
            rollover_ends: None,
            alarms: BTreeSet::new(),
            standing: None,
            ask_again: None,
            second_opinion: None,
            slot: None,
            endpoints: PeerEndpoints::default(),
            announcements: BTreeMap::new(),
            seen: Vec::new(),
            relays: Vec::new(),
            waiting: Waiting::default(),
            clashes: Vec::new(),
            clashes_told: Vec::new(),
            endpoints_upto: None,
            sync_problem: None,
            link_problem: None,
            trusted_on_first_use: false,
            unsaved: Unsaved::default(),
            directory_rests: None,
            endpoints_saved: None,
            announcements_saved: None,
        }
    }

    /// What is not installed here and whoever looks after the network should know, for people.
    pub(super) fn clashes_in_words(&self) -> Vec<String> {
        self.obstacles().map(ToString::to_string).collect()
    }

    /// What keeps anything from being installed here, the owner's choice apart.
    pub(super) fn obstacles(&self) -> impl Iterator<Item = &Clash> {
        let clashes = self.clashes.iter();
        clashes.filter(|clash| clash.setting().is_none())
    }

    /// What the owner of this host keeps out, by setting.
    pub(super) fn not_taken(&self) -> Vec<NotTaken> {
        let mut kept: Vec<NotTaken> = Vec::new();
        for clash in &self.clashes {
            let Some(setting) = clash.setting() else {
                continue;
            };
            match kept.iter_mut().find(|one| one.setting == setting) {
                Some(one) => one.prefixes.push(clash.prefix),
                None => kept.push(NotTaken {
                    setting: setting.to_owned(),
                    prefixes: vec![clash.prefix],
                    mend: clash.mend(self.id),
                }),
            }
        }
        kept
    }

    /// This node's certificate, while it counts.
    pub(super) fn membership(&self, me: &IdentityKey, wall: UnixSeconds) -> Option<&MemberCert> {
        if self.settings.denied.is_some() || self.settings.not_found {
            return None;
        }
        self.directory.as_ref()?.member(me, wall)
    }

    /// Where this node stands.
    pub(super) fn status(
        &self,
        me: &IdentityKey,
        connected: bool,
        wall: UnixSeconds,
    ) -> NetworkStatus {
        if self.settings.denied.is_some() {
            return NetworkStatus::Denied;
        }
        if self.settings.not_found {
            return NetworkStatus::NotFound;
        }
        if self.membership(me, wall).is_some() {
            return if connected {
                NetworkStatus::Ok
            } else {
                NetworkStatus::OfflineOk
            };
        }
        match self.standing {
            Some(Standing::Pending | Standing::Member) => NetworkStatus::Pending,
            Some(Standing::Denied { .. }) => NetworkStatus::Denied,
            Some(Standing::NotFound) => NetworkStatus::NotFound,
            Some(Standing::Busy) | None => NetworkStatus::Requesting,
        }
    }

    /// What should be on this host for the network; only while its TUN is up.
    pub(super) fn plan(&self, me: IdentityKey) -> Option<NetworkPlan<'_>> {
        self.slot?;
        Some(NetworkPlan {
            directory: self.directory.as_ref()?,
            me,
            link: self.link.clone(),
            allow_global: self.settings.allow_global,
            allow_default: self.settings.allow_default,
        })
    }

    /// Raises an alarm, once, if two documents were signed as one.
    pub(super) fn note(&mut self, refused: &Refused) {
        if matches!(refused, Refused::Equivocation { .. })
            && self.alarms.len() < MAX_ALARMS
            && self.alarms.insert(refused.to_string())
        {
            tracing::warn!(network = %self.id, "{refused}");
        }
    }

    /// Notes where the keyring says that controllers are.
    pub(super) fn learn_controllers(&mut self) {
        if let Some(directory) = &self.directory
            && self.settings.known_controllers != directory.keyring().endpoints
        {
            self.settings
                .known_controllers
                .clone_from(&directory.keyring().endpoints);
            self.unsaved.settings = true;
        }
    }

    /// Every place where a controller may be, best first.
    pub(super) fn controllers(&self) -> Vec<HostPort> {
        let mut all = self.settings.controllers.clone();
        for known in &self.settings.known_controllers {
            if !all.contains(known) {
                all.push(known.clone());
            }
        }
        all
    }

    /// Whether the directory has to be saved, or may be because the last time is long enough ago.
    pub(super) fn has_directory_to_save(&self, now: Instant) -> bool {
        let rests = self.directory_rests.is_some_and(|until| now < until);
        self.unsaved.urgent || self.unsaved.directory && !rests
    }

    /// Whether there are endpoints to save, and the last time is long enough ago.
    pub(super) fn has_endpoints_to_save(&self, now: Instant) -> bool {
        let recently = self
            .endpoints_saved
            .is_some_and(|at| now.duration_since(at) < ENDPOINTS_SAVED_EVERY);
        self.unsaved.endpoints && !recently
    }

    /// Writes what the disk does not have yet.
    pub(super) fn save(&mut self) -> anyhow::Result<()> {
        if self.unsaved.settings {
            self.files.store_settings(&self.settings)?;
            self.unsaved.settings = false;
        }
        if self.has_directory_to_save(Instant::now())
            && let Some(directory) = &self.directory
        {
            let start = Instant::now();
            self.files.store_directory(directory)?;
            (self.unsaved.directory, self.unsaved.urgent) = (false, false);
            self.directory_rests = Some(Instant::now() + start.elapsed() * DIRECTORY_RESTS);
        }
        if self.unsaved.endpoints {
            self.files.store_endpoints(&self.endpoints)?;
            self.unsaved.endpoints = false;
            self.endpoints_saved = Some(Instant::now());
        }
        let now = Instant::now();
        let recently = self
            .announcements_saved
            .is_some_and(|at| now.duration_since(at) < ANNOUNCEMENTS_SAVED_EVERY);
        if self.unsaved.announcements && !recently {
            self.files.store_announcements(&self.announcements)?;
            self.unsaved.announcements = false;
            self.announcements_saved = Some(now);
        }
        Ok(())
    }
}
