//! Who may run a laboratory now: many beside each other, or one alone.

use std::fs::File;

/// How much of the machine a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Runs beside other labs.
    Shared,
    /// Judges time or loss: no other lab runs meanwhile, in this process or another.
    Alone,
}

/// The right to run a lab now. Two files: whoever wants the machine alone holds the gate while waiting, so that a
/// stream of shared labs cannot starve it.
#[derive(Debug)]
pub(super) struct Turn {
    _machine: File,
}

impl Turn {
    pub(super) fn wait(claim: Claim) -> Self {
        let open = |name: &str| {
            let path = std::env::temp_dir().join(name);
            File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
        };
        let gate = open("tombolo-lab-gate.lock");
        let machine = open("tombolo-lab.lock");
        let taken = gate.lock().and_then(|()| match claim {
            Claim::Alone => machine.lock(),
            Claim::Shared => machine.lock_shared(),
        });
        taken.expect("locks work on the temporary directory");
        Self { _machine: machine }
    }
}
