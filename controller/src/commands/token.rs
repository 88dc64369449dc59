//! `controller token`

use tombolo_proto::api::{CreatedToken, NewToken, Token};

use super::{
    Client, Failure, Output,
    table::{Table, joined},
};
use crate::{cli::TokenVerb, moment};

pub(super) fn run(verb: &TokenVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create {
            name,
            scopes,
            expires_in,
        } => {
            let body = NewToken {
                name: name.clone(),
                scopes: scopes.clone(),
                expires_in: *expires_in,
            };
            out.object(&client.post("/tokens", &body)?, |created: &CreatedToken| {
                created.token.clone()
            });
        }
        TokenVerb::Ls => out.list(&client.all("/tokens")?, table),
        TokenVerb::Rm { id } => {
            client.delete(&format!("/tokens/{id}"))?;
            out.done(&format!("token {id} deleted"));
        }
    }
    Ok(())
}

fn table(tokens: &[Token]) -> Table {
    Table::new(
        ["ID", "NAME", "SCOPES", "EXPIRES", "LAST USED"],
        tokens.iter().map(|token| {
            [
                token.id.clone(),
                token.name.clone(),
                joined(&token.scopes),
                time(token.expires_at),
                time(token.last_used_at),
            ]
        }),
    )
}

fn time(at: Option<u64>) -> String {
    at.map_or_else(|| "never".to_owned(), moment::utc)
}
