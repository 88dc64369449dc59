//! `controller join-token`

use tombolo_proto::api::{CreatedToken, JoinToken, NewJoinToken};

use super::{Client, Failure, Output, client::network_path, table::Table};
use crate::{cli::JoinTokenVerb, moment};

pub(super) fn run(verb: &JoinTokenVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    match verb {
        JoinTokenVerb::Create {
            network,
            uses,
            expires_in,
        } => {
            let body = NewJoinToken {
                uses: Some(*uses),
                expires_in: Some(*expires_in),
            };
            let path = tokens_of(client, network)?;
            out.object(&client.post(&path, &body)?, |created: &CreatedToken| {
                let link = created.join_link.as_deref().unwrap_or_default();
                format!("token  {}\njoin   tombolo join {link}", created.token)
            });
        }
        JoinTokenVerb::Ls { network } => {
            out.list(&client.all(&tokens_of(client, network)?)?, table);
        }
        JoinTokenVerb::Rm { network, id } => {
            client.delete(&format!("{}/{id}", tokens_of(client, network)?))?;
            out.done(&format!("join token {id} deleted"));
        }
    }
    Ok(())
}

fn tokens_of(client: &Client, network: &str) -> Result<String, Failure> {
    let network = client.network(network)?;
    Ok(format!("{}/join-tokens", network_path(network.id)))
}

fn table(tokens: &[JoinToken]) -> Table {
    Table::new(
        ["ID", "USES LEFT", "EXPIRES"],
        tokens.iter().map(|token| {
            [
                token.id.clone(),
                token.uses_left.to_string(),
                moment::utc(token.expires_at),
            ]
        }),
    )
}
