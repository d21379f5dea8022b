//! A/B experiments: their arms, who was exposed to which, and what came of it.

use auralink_types::experiment::{self, Arm, NAME_MAX, Unit};
use auralink_types::{CallId, FieldError, SessionId, TenantId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::audit;
use crate::error::StoreError;
use crate::names::Named as _;
use crate::page::{Cursor, Order, Page};
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// Experiments of one tenant that run at a time.
pub const RUNNING_MAX: usize = 16;

/// A new experiment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewExperiment {
    /// Unique within the tenant.
    pub name: String,
    /// What is assigned.
    pub unit: Unit,
    /// As [`experiment::check_arms`] wants them.
    pub arms: Vec<Arm>,
    /// The figure that decides.
    #[serde(default)]
    pub primary: String,
}

/// A stored experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experiment {
    /// Its id.
    pub experiment_id: String,
    /// Whose.
    #[serde(skip)]
    pub tenant: TenantId,
    /// Unique within the tenant.
    pub name: String,
    /// What is assigned.
    pub unit: Unit,
    /// The ways compared.
    pub arms: Vec<Arm>,
    /// The figure that decides.
    pub primary: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was ended; absent while it runs.
    pub ended_at: Option<Timestamp>,
}

/// A session that came under an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// Whose.
    pub tenant: TenantId,
    /// The experiment.
    pub experiment_id: String,
    /// The publisher.
    pub user: UserId,
    /// The call.
    pub call_id: CallId,
    /// The session, stored before.
    pub session_id: SessionId,
    /// The arm's name.
    pub arm: String,
    /// When.
    pub at: Timestamp,
}

/// What one figure was like over the units of an arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Units that have the figure.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// Their unbiased variance; 0 for fewer than two.
    pub variance: f64,
}

/// What came of an arm, unit by unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmOutcome {
    /// The arm's name.
    pub arm: String,
    /// Sessions under it.
    pub exposures: u64,
    /// Units under it.
    pub units: u64,
    /// Percent saved.
    pub saved_percent: Sample,
    /// Kbps that flowed for a track.
    pub wire_kbps: Sample,
    /// Quality score.
    pub quality: Sample,
    /// Mean over seconds of the median time in compression.
    pub latency_ms: Sample,
    /// Fallbacks in an hour of track.
    pub fallbacks_per_hour: Sample,
}

const COLUMNS: &str =
    "experiment_id, tenant_id, name, unit, primary_metric, arms, created_at_us, ended_at_us";

const ORDER: Order = Order {
    at: "created_at_us",
    key: "experiment_id",
    numbered: false,
};

impl NewExperiment {
    fn check(&self) -> Result<(), FieldError> {
        experiment::check_name("name", &self.name)?;
        if self.primary.len() > NAME_MAX || self.primary.contains('\0') {
            let problem = format!("must be at most {NAME_MAX} bytes");
            return Err(FieldError::new("primary", problem));
        }
        experiment::check_arms(&self.arms)
    }
}

impl Store {
    /// Every experiment that runs, of every tenant.
    pub async fn running_experiments(&self) -> Result<Vec<Experiment>, StoreError> {
        let sql = Sql::new(format!(
            "SELECT {COLUMNS} FROM experiments WHERE ended_at_us IS NULL ORDER BY tenant_id, experiment_id"
        ));
        let mut tx = self.read().await?;
        let rows = tx.rows(sql).await?;
        tx.commit().await?;
        rows.iter().map(from_row).collect()
    }

    /// What came of the control arm of an experiment; `None` while nobody has met it.
    pub async fn control_outcome(&self, experiment: &Experiment) -> Result<Option<ArmOutcome>, StoreError> {
        let mut tx = self.read().await?;
        let rows = tx.rows(outcomes(experiment)).await?;
        tx.commit().await?;
        let control = experiment.arms.iter().find(|arm| arm.control);
        let found: Vec<_> = rows.iter().map(outcome).collect::<Result<_, _>>()?;
        Ok(found
            .into_iter()
            .find(|found| control.is_some_and(|control| control.name == found.arm)))
    }

    /// Notes that a session came under an arm; the first time counts.
    pub async fn expose(&self, exposure: &Exposure) -> Result<(), StoreError> {
        let sql = Sql::new(
            "INSERT INTO experiment_exposures (tenant_id, experiment_id, user_id, session_id, arm, exposed_at_us) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        );
        let sql = sql
            .with(&exposure.tenant)
            .with(exposure.experiment_id.as_str())
            .with(&exposure.user)
            .with(&exposure.session_id)
            .with(exposure.arm.as_str())
            .with(exposure.at);
        let mut tx = self.write().await?;
        tx.execute(sql).await?;
        tx.commit().await
    }
}

/// For operators.
impl Scoped {
    /// Experiments, newest first.
    pub async fn experiments(
        &self,
        cursor: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<Experiment>, StoreError> {
        let mut sql = Sql::new(format!("SELECT {COLUMNS} FROM experiments WHERE tenant_id = "));
        sql.bind(&self.actor.key.tenant);
        ORDER.push(&mut sql, cursor, limit);
        let rows = self.tenant_rows(sql).await?;
        ORDER.page(&rows, limit, from_row)
    }

    /// One of them.
    pub async fn experiment(&self, id: &str) -> Result<Experiment, StoreError> {
        let sql = Sql::new(format!(
            "SELECT {COLUMNS} FROM experiments WHERE tenant_id = $1 AND experiment_id = $2"
        ));
        let rows = self
            .tenant_rows(sql.with(&self.actor.key.tenant).with(id))
            .await?;
        let found = rows.first().ok_or(StoreError::Missing { what: "experiment" })?;
        from_row(found)
    }

    /// Starts an experiment; the same that runs already is given back. [`StoreError::Taken`] when another has its name,
    /// [`StoreError::Full`] past [`RUNNING_MAX`].
    pub async fn create_experiment(
        &self,
        new: &NewExperiment,
        now: Timestamp,
    ) -> Result<Experiment, StoreError> {
        self.operators_only()?;
        new.check()?;
        let tenant = &self.actor.key.tenant;
        let mut tx = self.write().await?;
        tx.lock(&format!("experiments {tenant}")).await?;
        let named = Sql::new(format!(
            "SELECT {COLUMNS} FROM experiments WHERE tenant_id = $1 AND name = $2"
        ));
        if let Some(row) = tx.row(named.with(tenant).with(new.name.as_str())).await? {
            let found = from_row(&row)?;
            let same = found.ended_at.is_none()
                && (found.unit, &found.arms, &found.primary) == (new.unit, &new.arms, &new.primary);
            return if same {
                Ok(found)
            } else {
                Err(StoreError::Taken { what: "name" })
            };
        }
        let count = Sql::new(
            "SELECT count(*) AS running FROM experiments WHERE tenant_id = $1 AND ended_at_us IS NULL",
        );
        if tx.one(count.with(tenant)).await?.count("running")? >= RUNNING_MAX as u64 {
            return Err(StoreError::Full {
                what: "running experiments",
                most: RUNNING_MAX,
            });
        }
        let id = format!("EX_{}", Uuid::now_v7().simple());
        let sql = Sql::new(
            "INSERT INTO experiments (tenant_id, experiment_id, name, unit, primary_metric, arms, created_at_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, name) DO NOTHING",
        );
        let sql = sql
            .with(tenant)
            .with(id.as_str())
            .with(new.name.as_str())
            .with(new.unit.to_name())
            .with(new.primary.as_str())
            .with(json!(new.arms))
            .with(now);
        if tx.execute(sql).await? == 0 {
            return Err(StoreError::Taken { what: "name" });
        }
        let detail = json!({ "experiment_id": id, "name": new.name, "arms": new.arms });
        audit::append(&mut tx, &self.actor, &"".into(), "experiment.create", detail, now).await?;
        tx.commit().await?;
        self.experiment(&id).await
    }

    /// Ends an experiment; ending it twice keeps the first time.
    pub async fn end_experiment(&self, id: &str, now: Timestamp) -> Result<Experiment, StoreError> {
        self.operators_only()?;
        let sql = Sql::new(
            "UPDATE experiments SET ended_at_us = $3 WHERE tenant_id = $1 AND experiment_id = $2 \
             AND ended_at_us IS NULL",
        );
        let mut tx = self.write().await?;
        if tx
            .execute(sql.with(&self.actor.key.tenant).with(id).with(now))
            .await?
            == 1
        {
            let detail = json!({ "experiment_id": id });
            audit::append(&mut tx, &self.actor, &"".into(), "experiment.end", detail, now).await?;
        }
        tx.commit().await?;
        self.experiment(id).await
    }

    /// What came of each arm, in the order of their names; an arm without exposures is left out.
    pub async fn outcomes(&self, id: &str) -> Result<Vec<ArmOutcome>, StoreError> {
        let experiment = self.experiment(id).await?;
        let rows = self.tenant_rows(outcomes(&experiment)).await?;
        rows.iter().map(outcome).collect()
    }
}

/// Arms of an experiment with sums over their units.
fn outcomes(experiment: &Experiment) -> Sql {
    let unit = match experiment.unit {
        Unit::User => "x.user_id",
        Unit::Call => "s.call_id",
    };
    // A unit that was in two arms counts in both: assignment never does that to one.
    let figures = ["saved", "wire", "quality", "latency", "fallbacks"];
    let sums = figures.map(|figure| {
        format!(
            "count({figure}) AS {figure}_n, coalesce(sum({figure}), 0.0) AS {figure}_sum, \
                 coalesce(sum({figure} * {figure}), 0.0) AS {figure}_squares"
        )
    });
    let sql = Sql::new(format!(
        "SELECT arm, count(*) AS units, CAST(sum(exposures) AS BIGINT) AS exposures, {} FROM (\
             SELECT x.arm, count(*) AS exposures, \
             CASE WHEN sum(s.original_kbit) > 0 THEN 100.0 * (1.0 - sum(s.compressed_kbit) / sum(s.original_kbit)) \
             END AS saved, \
             CASE WHEN sum(s.seconds) > 0 THEN sum(s.compressed_kbit) / sum(s.seconds) END AS wire, \
             CASE WHEN sum(s.quality_count) > 0 THEN sum(s.quality_sum) / sum(s.quality_count) END AS quality, \
             CASE WHEN sum(s.latency_count) > 0 THEN sum(s.latency_sum) / sum(s.latency_count) END AS latency, \
             CASE WHEN sum(s.seconds) > 0 \
             THEN CAST(3600.0 * sum(s.fallbacks) / sum(s.seconds) AS DOUBLE PRECISION) END AS fallbacks \
             FROM experiment_exposures x JOIN aic_sessions s ON s.tenant_id = x.tenant_id \
             AND s.session_id = x.session_id WHERE x.tenant_id = $1 AND x.experiment_id = $2 \
             GROUP BY x.arm, {unit}) AS unit GROUP BY arm ORDER BY arm",
        sums.join(", ")
    ));
    sql.with(&experiment.tenant)
        .with(experiment.experiment_id.as_str())
}

fn outcome(row: &Row) -> Result<ArmOutcome, StoreError> {
    let sample = |figure: &str| {
        let n = row.count(&format!("{figure}_n"))?;
        let sum: f64 = row.get(&format!("{figure}_sum"))?;
        let squares: f64 = row.get(&format!("{figure}_squares"))?;
        Ok::<_, StoreError>(Sample::of(n, sum, squares))
    };
    Ok(ArmOutcome {
        arm: row.text("arm")?,
        exposures: row.count("exposures")?,
        units: row.count("units")?,
        saved_percent: sample("saved")?,
        wire_kbps: sample("wire")?,
        quality: sample("quality")?,
        latency_ms: sample("latency")?,
        fallbacks_per_hour: sample("fallbacks")?,
    })
}

impl Sample {
    fn of(n: u64, sum: f64, squares: f64) -> Self {
        let count = n as f64;
        let mean = if n == 0 { 0.0 } else { sum / count };
        let variance = if n < 2 {
            0.0
        } else {
            (squares - count * mean * mean) / (count - 1.0)
        };
        Self {
            n,
            mean,
            // Rounding may leave it a hair under nothing.
            variance: variance.max(0.0),
        }
    }
}

fn from_row(row: &Row) -> Result<Experiment, StoreError> {
    Ok(Experiment {
        experiment_id: row.text("experiment_id")?,
        tenant: row.text("tenant_id")?.into(),
        name: row.text("name")?,
        unit: row.named("unit")?,
        arms: row.json("arms")?,
        primary: row.text("primary_metric")?,
        created_at: row.time("created_at_us")?,
        ended_at: row.maybe_time("ended_at_us")?,
    })
}
