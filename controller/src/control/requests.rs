//! What a node asks for, one method per message.

use ipnet::IpNet;
use tombolo_domain::{
    command::{Author, Command, RouteWish},
    managed_route::{RouteId, RouteState},
    member::Request,
    name::Name,
    network::Network,
    refusal::{Refusal, RefusalKind},
};
use tombolo_proto::{
    config::{EndpointAnnouncement, MAX_ENDPOINTS, RouteMode},
    control::{RouteAction, RouteOutcome, Standing, SubnetOutcome, ToController, ToNode},
    id::{NetworkId, UnixSeconds, Version},
    key::{IdentityKey, TransportKey},
    links::MAX_LINKS,
    signed::Signed,
};

use super::{
    Close,
    connection::{End, Preface, Session, ignore_outage},
    relaying, rendezvous,
};
use crate::{
    links::Told,
    networks::{ChangeError, JoinWish, Wish, standing},
    store::Actor,
    token,
};

/// Clashes that are kept of one member, and how long each may be.
const MAX_CLASHES: usize = 32;
const MAX_CLASH_LENGTH: usize = 300;
/// Networks of which it is remembered what a node has.
const MAX_NETWORKS: usize = 1024;

/// What a node says of itself when it joins.
struct Introduction {
    token: Option<String>,
    transport: TransportKey,
    transport_epoch: u32,
    name: String,
}

impl Session<'_> {
    pub(super) async fn handle(&mut self, message: ToController) -> Result<(), End> {
        match message {
            ToController::Hello { .. } => Err(End::Close(Close::Malformed)),
            ToController::Unsupported { variant } => {
                tracing::debug!(node = %self.node, variant, "node does not know a message");
                Ok(())
            }
            ToController::Join {
                network,
                token,
                transport,
                transport_epoch,
                name,
            } => {
                let introduction = Introduction {
                    token,
                    transport,
                    transport_epoch,
                    name,
                };
                self.join(network, introduction).await
            }
            ToController::Sync { network, have } => self.sync(network, have).await,
            // Read before this, and what is said later comes too late.
            ToController::Capabilities(_) => Ok(()),
            ToController::EndpointsSince { network, moment } => {
                if self.told_upto.len() < MAX_NETWORKS {
                    self.told_upto.insert(network, moment);
                }
                Ok(())
            }
            ToController::Announce {
                network,
                announcement,
            } => self.announce(network, announcement).await,
            ToController::Route {
                network,
                request,
                prefix,
                action,
            } => {
                let outcome = self.route(network, prefix, action).await?;
                self.say(&ToNode::RouteAnswer {
                    network,
                    request,
                    outcome,
                })
                .await
            }
            ToController::Subnet {
                network,
                request,
                length,
                metric,
            } => {
                let outcome = self.subnet(network, length, metric).await?;
                self.say(&ToNode::SubnetAnswer {
                    network,
                    request,
                    outcome,
                })
                .await
            }
            ToController::Leave { network } => self.leave(network).await,
            ToController::Rendezvous {
                network,
                peer,
                announcement,
            } => {
                let outcome =
                    rendezvous::introduce(self.shared, self.identity, network, peer, announcement)
                        .await?;
                self.say(&ToNode::RendezvousAnswer {
                    network,
                    peer,
                    outcome,
                })
                .await
            }
            ToController::Relay { network, message } => {
                let answer = relaying::answer(self.shared, self.identity, network, message).await?;
                match answer {
                    Some(answer) => self.say(&answer).await,
                    None => Ok(()),
                }
            }
            ToController::Clashes { network, clashes } => {
                let kept: Vec<String> = clashes
                    .iter()
                    .take(MAX_CLASHES)
                    .map(|clash| clash.chars().take(MAX_CLASH_LENGTH).collect())
                    .collect();
                let store = &self.shared.store;
                let put = store.put_clashes(network, &self.identity, &kept).await;
                Ok(ignore_outage(put)?)
            }
            ToController::ByTcp { network, peers } => {
                if let Some(preface) = self.preface(network) {
                    preface.by_tcp = peers.into_iter().take(MAX_LINKS).collect();
                }
                Ok(())
            }
            ToController::Carries { network, carried } => {
                if let Some(preface) = self.preface(network) {
                    preface.carried = Some(carried);
                }
                Ok(())
            }
            ToController::Links {
                network,
                mut report,
            } => {
                let preface = self.prefaces.remove(&network).unwrap_or_default();
                for link in &mut report.links {
                    if preface.by_tcp.contains(&link.peer) {
                        link.way = link.way.by_tcp();
                    }
                }
                let known = self.shared.networks.load(network).await?;
                let is_member = known.is_some_and(|known| {
                    standing(&known.network, &self.identity) == Standing::Member
                });
                if is_member {
                    let told = Told {
                        report,
                        carried: preface.carried,
                    };
                    self.shared.links.take(network, self.identity, told);
                }
                Ok(())
            }
        }
    }

    /// What the node says before its next report; none if it speaks of too many networks.
    fn preface(&mut self, network: NetworkId) -> Option<&mut Preface> {
        let has_room = self.prefaces.len() < MAX_NETWORKS || self.prefaces.contains_key(&network);
        has_room.then(|| self.prefaces.entry(network).or_default())
    }

    fn wish<'w>(&self, actor: &'w Actor, action: &'static str) -> Wish<'w> {
        Wish::new(actor, action, self.node.to_string())
    }

    async fn join(&mut self, network: NetworkId, introduction: Introduction) -> Result<(), End> {
        let Some(loaded) = self.shared.networks.load(network).await? else {
            return self.say_standing(network, Standing::NotFound).await;
        };
        self.place.follow(network);
        // A member that shows its token again, after a restart say, needs none: it must not be used up twice.
        let is_member = loaded.network.member(&self.identity).is_some();
        let is_private = loaded.network.settings().private;
        let claim = match introduction.token.as_deref() {
            Some(text) if !is_member && is_private => match token::claim(text) {
                Some(claim) => Some(claim),
                None => return self.say_denied(network, &ChangeError::Token).await,
            },
            _ => None,
        };
        let wish = JoinWish {
            request: Request {
                identity: self.identity,
                node: self.node,
                name: Name::from_suggestion(&introduction.name, self.node),
                transport: introduction.transport,
                transport_epoch: introduction.transport_epoch,
                source: self.source,
                requested_at: UnixSeconds(0),
            },
            token: claim,
        };
        let joined = self.shared.networks.join(network, wish).await;
        match joined {
            Ok(after) => {
                let standing = standing(&after, &self.identity);
                self.say_standing(network, standing).await
            }
            Err(ChangeError::UnknownNetwork) => {
                self.say_standing(network, Standing::NotFound).await
            }
            // While the store is away, members stay what they are, and nobody becomes one.
            Err(ChangeError::Store(error)) if error.is_outage() => {
                let known = standing(&loaded.network, &self.identity);
                let said = if known == Standing::Member {
                    known
                } else {
                    Standing::Busy
                };
                self.say_standing(network, said).await
            }
            Err(ChangeError::Store(error)) => Err(error.into()),
            Err(ChangeError::Busy | ChangeError::Stale | ChangeError::NotAdmitted) => {
                self.say_standing(network, Standing::Busy).await
            }
            Err(ChangeError::Refused(refusal)) if refusal.kind() == RefusalKind::Busy => {
                self.say_standing(network, Standing::Busy).await
            }
            Err(
                error @ ChangeError::Refused(
                    Refusal::NodeAddressTaken(_) | Refusal::TransportKeyTaken,
                ),
            ) => {
                tracing::warn!(node = %self.node, %network, %error, "refused a join");
                self.say_denied(network, &error).await
            }
            Err(
                error @ (ChangeError::Refused(_)
                | ChangeError::Unfit(_)
                | ChangeError::NameTaken
                | ChangeError::Token),
            ) => self.say_denied(network, &error).await,
        }
    }

    async fn say_denied(&mut self, network: NetworkId, error: &ChangeError) -> Result<(), End> {
        let reason = error.to_string();
        self.say_standing(network, Standing::Denied { reason })
            .await
    }

    async fn sync(&mut self, network: NetworkId, have: Version) -> Result<(), End> {
        self.place.follow(network);
        if !self.synchronize(network, have).await? {
            let standing = match self.shared.networks.load(network).await? {
                Some(loaded) => standing(&loaded.network, &self.identity),
                None => Standing::NotFound,
            };
            return self.say_standing(network, standing).await;
        }
        let since = self.told_upto.get(&network).copied();
        let networks = &self.shared.networks;
        let announced = networks.announcements(network, &self.identity, since).await;
        self.say_encoded(ignore_outage(announced)?).await
    }

    async fn announce(
        &mut self,
        network: NetworkId,
        announcement: Signed<EndpointAnnouncement>,
    ) -> Result<(), End> {
        let body = verify(network, self.identity, &announcement)?;
        let stored = self
            .shared
            .store
            .put_announcement(network, &self.identity, body.sequence, &announcement)
            .await;
        let networks = &self.shared.networks;
        let stored_at = match stored {
            // Those who are connected here may still hear of it, if it is a member's.
            Err(error) if error.is_outage() => {
                let known = networks.load(network).await?;
                let is_member = known.is_some_and(|known| {
                    standing(&known.network, &self.identity) == Standing::Member
                });
                is_member.then(|| networks.announced.looked().unwrap_or(UnixSeconds(0)))
            }
            stored => stored?,
        };
        if let Some(stored_at) = stored_at
            && networks.announced.put(
                network,
                self.identity,
                (body.sequence, stored_at),
                &announcement,
            )
        {
            networks
                .telling
                .announce(network, self.identity, announcement);
        }
        Ok(())
    }

    async fn route(
        &self,
        network: NetworkId,
        prefix: IpNet,
        action: RouteAction,
    ) -> Result<RouteOutcome, End> {
        let actor = Actor::Node(self.node);
        let identity = self.identity;
        let target = prefix.trunc();
        let (name, command): (_, Box<dyn Fn() -> Command + Send + Sync>) = match action {
            RouteAction::Publish { metric } => (
                "route.request",
                Box::new(move || {
                    Command::AddRoute(RouteWish {
                        id: RouteId(rand::random()),
                        target,
                        via: identity,
                        mode: RouteMode::Single,
                        metric,
                        author: Author::Member,
                    })
                }),
            ),
            RouteAction::Withdraw => (
                "route.withdraw",
                Box::new(move || Command::WithdrawRoute {
                    identity,
                    prefix: target,
                }),
            ),
        };
        let wish = Wish {
            subject: format!("{target} via {}", self.node),
            ..self.wish(&actor, name)
        };
        let changed = self
            .shared
            .networks
            .change(network, wish, |_, _| Ok(command()))
            .await;
        match changed {
            Ok(after) => Ok(outcome(&after, self, target)),
            Err(ChangeError::Store(error)) if !error.is_outage() => Err(error.into()),
            Err(error) => Ok(RouteOutcome::Refused {
                reason: error.to_string(),
            }),
        }
    }

    async fn subnet(
        &self,
        network: NetworkId,
        length: u8,
        metric: u32,
    ) -> Result<SubnetOutcome, End> {
        let actor = Actor::Node(self.node);
        let (id, via) = (RouteId(rand::random()), self.identity);
        let wish = self.wish(&actor, "subnet.request");
        let allocated = self
            .shared
            .networks
            .change(network, wish, |_, _| {
                Ok(Command::AllocateSubnet {
                    id,
                    via,
                    length,
                    metric,
                    author: Author::Member,
                })
            })
            .await
            .and_then(|after| {
                let route = after.route(id).ok_or(Refusal::UnknownRoute)?;
                Ok(route.target)
            });
        match allocated {
            Ok(prefix) => Ok(SubnetOutcome::Allocated { prefix }),
            Err(ChangeError::Store(error)) if !error.is_outage() => Err(error.into()),
            Err(error) => Ok(SubnetOutcome::Refused {
                reason: error.to_string(),
            }),
        }
    }

    async fn leave(&mut self, network: NetworkId) -> Result<(), End> {
        let actor = Actor::Node(self.node);
        let identity = self.identity;
        let left = self
            .shared
            .networks
            .change(network, self.wish(&actor, "member.leave"), |_, _| {
                Ok(Command::RemoveMember(identity))
            })
            .await;
        match left {
            // Its new standing is pushed, like that of a member that was deleted.
            Ok(_) => Ok(()),
            Err(ChangeError::Store(error)) if !error.is_outage() => Err(error.into()),
            Err(ChangeError::Store(_) | ChangeError::NotAdmitted) => {
                self.say_standing(network, Standing::Busy).await
            }
            Err(ChangeError::UnknownNetwork) => {
                self.say_standing(network, Standing::NotFound).await
            }
            Err(error) => self.say_denied(network, &error).await,
        }
    }
}

/// What a node says of where it is; a connection that lies about who says it ends.
pub(super) fn verify(
    network: NetworkId,
    identity: IdentityKey,
    announcement: &Signed<EndpointAnnouncement>,
) -> Result<EndpointAnnouncement, End> {
    announcement
        .verify(network.into(), |signer| *signer == identity)
        .ok()
        .filter(|body| body.endpoints.len() <= MAX_ENDPOINTS)
        .ok_or(End::Close(Close::Malformed))
}

fn outcome(network: &Network, session: &Session<'_>, target: IpNet) -> RouteOutcome {
    let route = network
        .routes()
        .find(|route| route.via == session.identity && route.target == target);
    match route.map(|route| route.state) {
        Some(RouteState::Active) => RouteOutcome::Active,
        Some(RouteState::Pending | RouteState::Suspended) => RouteOutcome::Pending,
        None => RouteOutcome::Withdrawn,
    }
}
