//! The shop by tokio-postgres.
//!
//! It asks the server which type a parameter has, and refuses a value of another.
//! Where a function takes several, that is text; so an id that is none says what it is.

use serde_json::{json, Value};
use std::env;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Row};
use uuid::Uuid;

fn expect(right: bool, what: String) {
    if !right {
        eprintln!("wrong: {what}");
        std::process::exit(1);
    }
    println!("{what}");
}

async fn connect() -> Result<Client, Error> {
    let mut config = Config::new();
    for (name, value) in env::vars() {
        match name.as_str() {
            "PGHOST" => config.host(&value),
            "PGPORT" => config.port(value.parse().expect("PGPORT is a number")),
            "PGUSER" => config.user(&value),
            "PGDATABASE" => config.dbname(&value),
            _ => continue,
        };
    }
    let (client, connection) = config.connect(NoTls).await?;
    // what breaks there, the client is told as well
    tokio::spawn(async move { connection.await.ok() });
    Ok(client)
}

async fn place(key: &str, order: &Value, lose: bool) -> Result<Row, Error> {
    let mut client = connect().await?;
    let transaction = client.transaction().await?;
    if lose {
        transaction.batch_execute("SET LOCAL idem.lose_ack = 1").await?;
    }
    let placed = transaction
        .query_one(
            "SELECT outcome::text, replayed, result FROM idem_upsert($1, 'orders', $2)",
            &[&key, order],
        )
        .await?;
    transaction.commit().await?;
    Ok(placed)
}

/// Moves a row on, and tells from where to where.
async fn moved(
    client: &Client,
    what: &str,
    call: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<(), Error> {
    let row = client
        .query_one(&format!("SELECT from_state, to_state, version FROM {call}"), values)
        .await?;
    let (from, to, version): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
    expect(version == 2, format!("moved {what}: {from} -> {to}, version {version}"));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let key = Uuid::new_v4().to_string();
    let order = json!({"customer": "tokio-postgres", "total": 440});
    match place(&key, &order, true).await {
        Ok(_) => expect(false, "nothing was lost".into()),
        Err(error) => println!("lost: {error}, code {:?}", error.code()),
    }
    let placed = place(&key, &order, false).await?;
    expect(
        placed.get::<_, &str>(0) == "inserted" && placed.get(1),
        "placed: inserted, replayed".into(),
    );
    let row: Value = placed.get(2);
    let (id, version) = (row["id"].as_i64(), row["version"].as_i64());

    let client = connect().await?;
    moved(
        &client,
        "order",
        "order_transition('orders', $1::bigint, $2, expected_version => $3, key => $4)",
        &[&id, &"PROCESSING", &version, &format!("{key}/PROCESSING")],
    )
    .await?;

    let parcel = Uuid::new_v4();
    client
        .execute("INSERT INTO parcels VALUES ($1, $2)", &[&parcel, &"tokio-postgres"])
        .await?;
    moved(
        &client,
        "parcel",
        "order_transition('parcels', $1::uuid, $2)",
        &[&parcel, &"PROCESSING"],
    )
    .await?;

    let messages = vec![format!("{key}/1"), format!("{key}/2"), format!("{key}/1")];
    let mut counts = vec![];
    for _ in 0..2 {
        let new = client
            .query("SELECT * FROM idem_consume_batch('tokio-postgres', $1)", &[&messages])
            .await?;
        counts.push(new.len());
    }
    expect(counts == [2, 0], format!("consumed: {}, then {}", counts[0], counts[1]));

    let refused = client
        .query("SELECT * FROM order_transition('orders', $1::bigint, $2)", &[&id, &"DELIVERED"])
        .await;
    let code = refused.err().and_then(|e| e.code().cloned());
    let code = code.as_ref().map_or("none", |c| c.code());
    expect(code == "ID201", format!("refused: {code} (Error::code)"));
    Ok(())
}
