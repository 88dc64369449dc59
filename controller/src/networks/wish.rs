//! What somebody wishes of a network, and why it is not done.

use std::{collections::BTreeSet, fmt};

use tombolo_domain::{network::Network, refusal::Refusal};
use tombolo_proto::key::IdentityKey;

use crate::store::{Actor, CommitError, Deed, Kept, StoreError, TokenClaim, Trace};

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// No such network.
    #[error("there is no such network on this controller: list networks to see their ids")]
    UnknownNetwork,
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller decided on an older state.
    #[error("it changed since you read it: read it again and repeat")]
    Stale,
    /// What is wished for makes no sense, or has no counterpart here.
    #[error("{0}")]
    Unfit(String),
    /// Another network has the name.
    #[error("the name belongs to another network of this controller: choose another")]
    NameTaken,
    /// A join token is unknown, used up or expired.
    #[error("the join token is unknown, expired or used up: ask for a new one")]
    Token,
    /// This replica may not sign.
    #[error(
        "this replica is not in the keyring: admit it with `tombolo-controller keyring add`, or ask another one"
    )]
    NotAdmitted,
    /// Others kept changing the network.
    #[error("the network is being changed by many at once: try again")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the answer that is kept with a change, from the network as it will be.
pub(crate) type Answering<'a> = &'a (dyn Fn(&Network) -> Option<Kept> + Send + Sync);

/// A wish: what to do, who wants it, and how the audit log calls it.
pub(crate) struct Wish<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) token: Option<&'a TokenClaim>,
    /// Nodes that the caller tells their new standing itself.
    pub(crate) answered: BTreeSet<IdentityKey>,
    /// What to answer whoever asks the same again.
    pub(crate) answer: Option<Answering<'a>>,
}

impl fmt::Debug for Wish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wish")
            .field("actor", &self.actor)
            .field("action", &self.action)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl<'a> Wish<'a> {
    pub(crate) const fn new(actor: &'a Actor, action: &'static str, subject: String) -> Self {
        Self {
            actor,
            action,
            subject,
            token: None,
            answered: BTreeSet::new(),
            answer: None,
        }
    }

    pub(crate) const fn answering(mut self, answer: Answering<'a>) -> Self {
        self.answer = Some(answer);
        self
    }

    pub(super) const fn deed<'b>(&'b self, trace: &'b Trace) -> Deed<'b> {
        Deed {
            token: self.token,
            actor: self.actor,
            action: self.action,
            subject: self.subject.as_str(),
            trace,
        }
    }
}

impl From<CommitError> for ChangeError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict | CommitError::Epoch => Self::Busy,
            CommitError::NameTaken => Self::NameTaken,
            CommitError::Token => Self::Token,
            CommitError::Store(error) => Self::Store(error),
        }
    }
}
