//! Joins, as many as wait in one transaction: each costs a commit otherwise, and a crowd would wait for the disk one by one.
//!
//! Whoever gets the network's turn takes along everybody who waits. If that fails as a whole, each is tried alone, so that
//! one that cannot be, because of its token say, spoils nothing for the others.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use tombolo_domain::{
    command::Command, decide::decide, member::Request, network::Network, refusal::Refusal,
};
use tombolo_proto::id::{NetworkId, UnixSeconds};

use super::{ATTEMPTS, ChangeError, Done, Networks, Wish, pause_before, trace};
use crate::store::{Actor, CommitError, TokenClaim};

/// Joins in one transaction: a few milliseconds of work.
const TOGETHER: usize = 64;

/// A node that wants to join. What it says of itself was checked; the time of the request is filled in.
#[derive(Debug)]
pub(crate) struct JoinWish {
    pub(crate) request: Request,
    pub(crate) token: Option<TokenClaim>,
}

/// What became of a join: the network with it.
type Joined = Result<Network, ChangeError>;

/// Joins that wait for the network's turn.
#[derive(Debug, Default)]
pub(super) struct Joins(Mutex<Vec<Waiting>>);

#[derive(Debug)]
struct Waiting {
    wish: JoinWish,
    actor: Actor,
    subject: String,
    answer: oneshot::Sender<Joined>,
}

impl Joins {
    fn queue(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Waiting> {
        let mut queue = self.queue();
        let taken = queue.len().min(TOGETHER);
        queue.drain(..taken).collect()
    }
}

impl Waiting {
    fn command(&self, now: UnixSeconds) -> Command {
        Command::Join {
            request: Request {
                requested_at: now,
                ..self.wish.request.clone()
            },
            granted: self.wish.token.is_some(),
        }
    }

    /// The caller of [`Networks::join`] tells the node itself.
    fn as_wish(&self) -> Wish<'_> {
        Wish {
            actor: &self.actor,
            action: if self.wish.token.is_some() {
                "member.join_by_token"
            } else {
                "member.join"
            },
            subject: self.subject.clone(),
            token: self.wish.token.as_ref(),
            answered: BTreeSet::from([self.wish.request.identity]),
            answer: None,
        }
    }
}

impl Networks {
    /// Lets a node join, or records that it wants to.
    pub(crate) async fn join(&self, id: NetworkId, wish: JoinWish) -> Joined {
        let writer = self.writer(id);
        let node = wish.request.node;
        let (answer, mut answered) = oneshot::channel();
        writer.joins.queue().push(Waiting {
            wish,
            actor: Actor::Node(node),
            subject: node.to_string(),
            answer,
        });
        loop {
            tokio::select! {
                // Whoever went before may have taken this one along.
                biased;
                joined = &mut answered => return joined.unwrap_or(Err(ChangeError::Busy)),
                _turn = writer.turn.lock() => self.join_all(id, writer.joins.take()).await,
            }
        }
    }

    async fn join_all(&self, id: NetworkId, mut waiting: Vec<Waiting>) {
        // Who is gone meanwhile does not join.
        waiting.retain(|join| !join.answer.is_closed());
        if waiting.len() > 1
            && let Ok(outcomes) = self.join_together(id, &waiting).await
        {
            for (join, outcome) in waiting.into_iter().zip(outcomes) {
                let _ = join.answer.send(outcome);
            }
            return;
        }
        for join in waiting {
            let joined = self
                .change_in_turn(id, join.as_wish(), |_, now| Ok(join.command(now)))
                .await;
            let _ = join.answer.send(joined);
        }
    }

    /// Decides on one after the other, and commits all of it or nothing.
    async fn join_together(
        &self,
        id: NetworkId,
        waiting: &[Waiting],
    ) -> Result<Vec<Joined>, ChangeError> {
        for attempt in 0..ATTEMPTS {
            pause_before(attempt).await;
            let epoch = self.may_sign()?;
            let turn = self.store.turn(id).await?;
            let loaded = self
                .load_fresh(id)
                .await?
                .ok_or(ChangeError::UnknownNetwork)?;
            let now = self.store.now().await?;
            let mut network = loaded.network.clone();
            let mut done = Done {
                changes: Vec::new(),
                documents: Vec::new(),
                epoch,
                answer: None,
            };
            let (mut refused, mut wishes): (Vec<Option<Refusal>>, Vec<Wish<'_>>) =
                Default::default();
            let mut traces = Vec::new();
            for join in waiting {
                match decide(join.command(now), &network, now) {
                    Ok(changes) => {
                        if !changes.is_empty() {
                            let (after, documents) = self.prepare(&network, &changes, epoch, now);
                            traces.push(trace::of(&network, &after, &changes));
                            network = after;
                            done.changes.extend(changes);
                            done.documents.extend(documents);
                            wishes.push(join.as_wish());
                        }
                        refused.push(None);
                    }
                    Err(refusal) => refused.push(Some(refusal)),
                }
            }
            let outcomes = |network: &Network| {
                refused
                    .iter()
                    .map(|refusal| match refusal {
                        None => Ok(network.clone()),
                        Some(refusal) => Err(refusal.clone().into()),
                    })
                    .collect()
            };
            if wishes.is_empty() {
                return Ok(outcomes(&network));
            }
            let deeds: Vec<_> = wishes
                .iter()
                .zip(&traces)
                .map(|(wish, trace)| wish.deed(trace))
                .collect();
            let answered = waiting
                .iter()
                .map(|join| join.wish.request.identity)
                .collect();
            let committed = self
                .commit(&loaded, &network, done, &deeds, &answered)
                .await;
            turn.release().await;
            match committed {
                Ok(()) => return Ok(outcomes(&network)),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Epoch) => self.take_keyring().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeError::Busy)
    }
}
