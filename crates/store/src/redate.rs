//! A server that learns in the middle of a call that its clock was wrong.
//!
//! What the call, its stays and its sessions are dated with is set right, so that none seems to have lasted for years.
//! Metric rows keep the date they were written with: they are final, and those of long ago go with the next
//! housekeeping.

use auralink_types::Event;

use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;

impl Store {
    /// Moves every date of the event's call, all of which were told before it, by so many microseconds.
    pub(crate) async fn redate(&self, event: &Event, by_us: i64) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for (table, began, ended) in [
            ("calls", "started_at_us", "ended_at_us"),
            ("call_participants", "joined_at_us", "left_at_us"),
            ("aic_sessions", "started_at_us", "ended_at_us"),
        ] {
            let sql = Sql::new(format!(
                "UPDATE {table} SET {began} = {began} + $3, {ended} = {ended} + $3 WHERE tenant_id = $1 AND call_id = $2"
            ));
            tx.execute(sql.with(&event.tenant).with(&event.call_id).with(by_us))
                .await?;
        }
        tx.commit().await
    }
}
