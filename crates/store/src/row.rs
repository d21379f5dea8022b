//! A row of either database.

use auralink_types::UserKey;
use serde_json::Value as Json;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Decode, Postgres, Row as _, Sqlite, Type, TypeInfo as _, ValueRef as _};

use crate::error::StoreError;
use crate::names::Named;
use crate::timestamp::Timestamp;

#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    pub(crate) fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.get(column)
    }

    pub(crate) fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.get(column)
    }

    pub(crate) fn count(&self, column: &str) -> Result<u64, StoreError> {
        Ok(self.int(column)?.unsigned_abs())
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_micros(self.int(column)?))
    }

    pub(crate) fn maybe_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    pub(crate) fn maybe_id<T: From<String>>(&self, column: &str) -> Result<Option<T>, StoreError> {
        Ok(self.get::<Option<String>>(column)?.map(T::from))
    }

    /// A member of a closed set.
    pub(crate) fn named<T: Named>(&self, column: &'static str) -> Result<T, StoreError> {
        T::read(column, &self.text(column)?)
    }

    pub(crate) fn owner(&self) -> Result<UserKey, StoreError> {
        Ok(UserKey::new(self.text("tenant_id")?, self.text("user_id")?))
    }

    /// A column that holds JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let sqlx::types::Json(json) = self.get::<sqlx::types::Json<Json>>(column)?;
        let text = json.to_string();
        serde_json::from_value(json).map_err(|_| StoreError::Corrupt { column, value: text })
    }

    /// The whole row as it stands, by column.
    pub(crate) fn to_json(&self) -> Result<Json, StoreError> {
        let columns: Vec<(String, String)> = match self {
            Self::Sqlite(row) => {
                let name = |column: &sqlx::sqlite::SqliteColumn| {
                    let kind = row.try_get_raw(column.ordinal())?.type_info().name().to_owned();
                    Ok((column.name().to_owned(), kind))
                };
                row.columns()
                    .iter()
                    .map(name)
                    .collect::<Result<_, sqlx::Error>>()?
            }
            Self::Postgres(row) => {
                let name = |column: &sqlx::postgres::PgColumn| {
                    (column.name().to_owned(), column.type_info().name().to_owned())
                };
                row.columns().iter().map(name).collect()
            }
        };
        let mut object = serde_json::Map::new();
        for (column, kind) in columns {
            let value = match kind.as_str() {
                "NULL" => Json::Null,
                "INTEGER" | "INT8" => self.get::<Option<i64>>(&column)?.into(),
                "REAL" | "FLOAT8" => self.get::<Option<f64>>(&column)?.into(),
                "BOOLEAN" | "BOOL" => self.get::<Option<bool>>(&column)?.into(),
                "JSONB" => self
                    .get::<Option<sqlx::types::Json<Json>>>(&column)?
                    .map_or(Json::Null, |json| json.0),
                _ => self.get::<Option<String>>(&column)?.into(),
            };
            object.insert(column, value);
        }
        Ok(Json::Object(object))
    }
}
