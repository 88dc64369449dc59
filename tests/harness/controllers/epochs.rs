//! What `keyring revoke` does: one replica signs everything anew in an epoch without another one.

use std::time::Instant;

use tombolo_domain::{
    compile::compile_all,
    keyring::{Edit, draft},
};
use tombolo_proto::{config::Keyring, signed::Signed};

use super::{Controllers, signing};

impl Controllers {
    /// Whether the keyring in the store names a replica.
    #[must_use]
    pub fn is_admitted(&self, replica: usize) -> bool {
        let (keyring, _) = self.store.keyring();
        keyring.replicas.contains(&self.key(replica))
    }

    /// Asks replica `by` to begin an epoch without `whom`. `false` if it cannot, or the rules say no.
    pub fn revoke(&mut self, by: usize, whom: usize, now: Instant) -> bool {
        let is_able = self.is_up(by) && self.reaches_store(by) && self.is_admitted(by);
        let edit = Edit::Revoke(self.key(whom));
        let keyring = match draft(&self.store.keyring().0, &[], &edit) {
            Ok(keyring) if is_able && by != whom => keyring,
            _ => return false,
        };
        let network = self.store.network();
        let scope = Keyring::scope(network.id().authority());
        let signed = Signed::sign(&keyring, scope, &self.root);
        let all = compile_all(network, keyring.version.epoch);
        let documents = signing::sign(network.id(), all, &self.replicas[by].secret);
        self.store.begin_epoch((keyring, signed), documents);
        self.look(by);
        self.hint(by, now);
        true
    }
}
