//! The gateway's own API, as the commands use it.
//!
//! Columns come from the gateway (`meta.k8s.io/v1` Table), so that `palisade user list` and `kubectl get
//! users` show the same. Objects that are only printed stay as the gateway wrote them.

use super::{
    http::{HttpClient, HttpError},
    output::{self, Format, Table},
    run::{self, Failure},
    session::{self, GatewayArgs},
};
use crate::{
    clusters::client::escape,
    objects::{API_VERSION, Kind},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// Objects that one request asks for.
const PAGE: usize = 500;
/// Listed that a command holds and prints: past it `kubectl get` with a selector is the better tool.
const MAX_ROWS: usize = 100_000;
/// Times that a change is made anew when somebody else wrote in between.
const TRIES: usize = 5;
/// What `kubectl get` asks for too.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// The gateway, by its own API.
pub struct Own {
    http: HttpClient,
}

/// What a list shows.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
    #[serde(default)]
    metadata: ListMeta,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    priority: u8,
}

/// One object with what its line shows.
#[derive(Deserialize)]
pub struct Row {
    cells: Vec<Value>,
    /// The whole object.
    pub object: Value,
}

impl Row {
    /// What the line shows in this column.
    pub fn cell(&self, at: usize) -> String {
        self.cells.get(at).map(text).unwrap_or_default()
    }
}

#[derive(Default, Deserialize)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    next: String,
}

impl Own {
    /// Opens the gateway that the options mean.
    pub async fn connect(gateway: &GatewayArgs) -> Result<Self, Failure> {
        Ok(Self::new(session::connect(gateway).await?.http))
    }

    /// The gateway behind a client that has a credential.
    pub fn new(http: HttpClient) -> Self {
        Self { http }
    }

    /// The client below.
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// One object.
    pub async fn get<K: Kind>(&self, name: &str) -> Result<K, Failure> {
        Ok(self.http.get(&path::<K>(name)).await?)
    }

    /// Creates an object.
    pub async fn create<K: Kind>(&self, object: &K) -> Result<K, Failure> {
        Ok(self.http.post(&path::<K>(""), object).await?)
    }

    /// Reads an object, changes it and writes it back, again if somebody else wrote in between. A `change`
    /// that answers `false` leaves it as it is.
    pub async fn change<K: Kind>(
        &self,
        name: &str,
        mut change: impl FnMut(&mut K) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let path = path::<K>(name);
        let mut refused: Option<(String, HttpError)> = None;
        for _ in 0..TRIES {
            let mut object: K = self.http.get(&path).await?;
            let version = object.meta().resource_version.clone();
            if let Some((_, why)) = refused.take_if(|(at, _)| *at == version) {
                // Nobody wrote in between: it was refused for itself (the last admin stays, say).
                return Err(why.into());
            }
            if !change(&mut object)? {
                return Ok(false);
            }
            match self.http.put::<_, Value>(&path, &object).await {
                Ok(_) => return Ok(true),
                Err(why) if why.code() == Some(StatusCode::CONFLICT) => {
                    refused = Some((version, why));
                }
                Err(why) => return Err(why.into()),
            }
        }
        Err(match refused {
            Some((_, why)) => why.into(),
            None => Failure::said(format!("{name} was not changed")),
        })
    }

    /// Removes an object.
    pub async fn delete<K: Kind>(&self, name: &str) -> Result<(), Failure> {
        Ok(self.http.delete(&path::<K>(name)).await?)
    }

    /// All objects of a kind that the caller may see.
    pub async fn list<K: Kind>(&self) -> Result<Listed, Failure> {
        self.list_where::<K>("").await
    }

    /// The same, of those whose fields are so (`spec.user.name=jane`); empty: all.
    pub async fn list_where<K: Kind>(&self, fields: &str) -> Result<Listed, Failure> {
        let mut all: Option<Listed> = None;
        loop {
            let next = all.as_ref().map_or("", |all| all.metadata.next.as_str());
            let query = format!(
                "?limit={PAGE}&includeObject=Object&fieldSelector={}&continue={}",
                escape(fields),
                escape(next)
            );
            let path = path::<K>("") + &query;
            let page: Listed = self.http.get_as(&path, TABLE).await?;
            let so_far = match &mut all {
                None => all.insert(page),
                Some(so_far) => {
                    so_far.rows.extend(page.rows);
                    so_far.metadata = page.metadata;
                    so_far
                }
            };
            if so_far.rows.len() > MAX_ROWS {
                return Err(Failure::said(format!(
                    "there are more than {MAX_ROWS} {}: use kubectl with a selector",
                    K::PLURAL
                )));
            }
            if so_far.metadata.next.is_empty() {
                return Ok(all.unwrap_or_default());
            }
        }
    }

    /// Prints one object; a table has no better form for one than YAML.
    pub async fn show<K: Kind>(&self, name: &str, format: Format) -> Result<(), Failure> {
        let object: Value = self.http.get(&path::<K>(name)).await?;
        match format {
            Format::Json => run::print(&output::json(&object)),
            Format::Name => run::print(&full_name::<K>(&object)),
            Format::Table | Format::Wide | Format::Yaml => print_yaml(&object),
        }
    }
}

impl Listed {
    /// Keeps the rows that `keep` wants.
    pub fn retain(&mut self, keep: impl FnMut(&Row) -> bool) {
        self.rows.retain(keep);
    }

    /// The names of what is listed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let objects = self.rows.iter().map(|row| &row.object);
        objects.filter_map(|object| object.pointer("/metadata/name")?.as_str())
    }

    /// What is listed, whole.
    pub fn objects(&self) -> impl Iterator<Item = &Value> {
        self.rows.iter().map(|row| &row.object)
    }

    /// What is listed, with the cells of its lines.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Where the gateway's column of this name stands.
    pub fn column(&self, name: &str) -> Option<usize> {
        let mut columns = self.column_definitions.iter();
        columns.position(|column| column.name == name)
    }

    /// Prints them.
    pub fn print<K: Kind>(self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Table | Format::Wide if self.rows.is_empty() => {
                run::tell(&format!("no {} found", K::PLURAL));
                Ok(())
            }
            Format::Table | Format::Wide => run::print(&self.table(format == Format::Wide)),
            Format::Json => run::print(&output::json(&self.into_list::<K>())),
            Format::Yaml => print_yaml(&self.into_list::<K>()),
            Format::Name => {
                let names = self.rows.iter().map(|row| full_name::<K>(&row.object));
                run::print(&names.collect::<String>())
            }
        }
    }

    fn table(&self, wide: bool) -> String {
        let shown = |at: usize| {
            let column = self.column_definitions.get(at);
            column.is_some_and(|column| wide || column.priority == 0)
        };
        let heads = self.column_definitions.iter().enumerate();
        let heads = heads.filter(|(at, _)| shown(*at));
        let mut table = Table::new(heads.map(|(_, column)| &column.name));
        for row in &self.rows {
            let cells = row.cells.iter().enumerate();
            table.row(
                cells
                    .filter(|(at, _)| shown(*at))
                    .map(|(_, cell)| text(cell)),
            );
        }
        table.render()
    }

    fn into_list<K: Kind>(self) -> Value {
        let items: Vec<Value> = self.rows.into_iter().map(|row| row.object).collect();
        json!({
            "apiVersion": API_VERSION,
            "kind": format!("{}List", K::KIND),
            "metadata": {},
            "items": items,
        })
    }
}

fn print_yaml(value: &Value) -> Result<(), Failure> {
    let yaml = output::yaml(value);
    run::print(&yaml.ok_or_else(|| Failure::said("this cannot be written as YAML: use -o json"))?)
}

/// `user/alice`, as kubectl's `-o name`.
fn full_name<K: Kind>(object: &Value) -> String {
    let name = object
        .pointer("/metadata/name")
        .map(text)
        .unwrap_or_default();
    format!(
        "{}.{}/{}\n",
        K::SINGULAR,
        crate::objects::GROUP,
        output::printable(&name)
    )
}

fn text(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

/// Path of an object, or of the collection for an empty name.
pub fn path<K: Kind>(name: &str) -> String {
    let collection = format!("/apis/{API_VERSION}/{}", K::PLURAL);
    if name.is_empty() {
        return collection;
    }
    format!("{collection}/{}", escape(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::User;

    fn rows() -> Listed {
        serde_json::from_value(json!({
            "kind": "Table",
            "metadata": {"resourceVersion": "7"},
            "columnDefinitions": [
                {"name": "Name", "type": "string", "priority": 0},
                {"name": "Age", "type": "string"},
                {"name": "Uid", "type": "string", "priority": 1},
            ],
            "rows": [
                {"cells": ["alice", "3d", "u-1"], "object": {"metadata": {"name": "alice"}}},
                {"cells": ["bob", 5, null], "object": {"metadata": {"name": "bob"}}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_list_shows_the_gateways_columns() {
        assert_eq!(rows().table(false), "NAME    AGE\nalice   3d\nbob     5\n");
        assert_eq!(
            rows().table(true),
            "NAME    AGE   UID\nalice   3d    u-1\nbob     5\n"
        );
    }

    #[test]
    fn a_list_is_one_object_for_scripts() {
        let mut rows = rows();
        rows.retain(|row| row.object["metadata"]["name"] == "bob");
        assert_eq!(
            rows.into_list::<User>(),
            json!({
                "apiVersion": "palisade.dev/v1alpha1", "kind": "UserList", "metadata": {},
                "items": [{"metadata": {"name": "bob"}}],
            })
        );
    }

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(
            path::<User>("a.b-c"),
            "/apis/palisade.dev/v1alpha1/users/a.b-c"
        );
        assert_eq!(
            path::<User>("a/b?c%d é"),
            "/apis/palisade.dev/v1alpha1/users/a%2Fb%3Fc%25d%20%C3%A9"
        );
    }
}
