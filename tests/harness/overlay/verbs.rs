//! The verbs of a program, run to their end.

/// Gives verbs to something with a method `command`: both programs run them alike.
macro_rules! verbs {
    ($program:ident) => {
        impl $program {
            /// Runs a verb to its end.
            #[track_caller]
            #[must_use]
            pub fn verb(&self, arguments: &[&str]) -> crate::process::Said {
                crate::process::Said::by(&mut self.command(arguments))
            }

            /// Runs a verb with `--json` that must succeed.
            ///
            /// # Panics
            /// When it fails or prints something else.
            #[track_caller]
            #[must_use]
            pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
                let text = self.verb(&[arguments, &["--json"]].concat()).ok();
                serde_json::from_str(&text)
                    .unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
            }
        }
    };
}

pub(super) use verbs;
