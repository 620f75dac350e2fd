//! Lanes: who owns each, for which epoch, and who may have its messages in flight.

use crate::{Connection, Result, StoreError};
use campaign_core::ids::{InstanceId, LaneId};
use sqlx::Row;
use std::time::Duration;
use uuid::Uuid;

/// An owner's title to a lane. Everything it writes is checked against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The lane.
    pub lane: LaneId,
    /// Grows by one with each change of owner.
    pub epoch: i64,
    /// The owner.
    pub owner: InstanceId,
}

/// A lane, as a replica that looks for work sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// The lane.
    pub lane: LaneId,
    /// The owner, if its lease runs.
    pub owner: Option<InstanceId>,
    /// Messages a second: the lower of what is configured and what WhatsApp reported.
    pub throughput_per_second: i32,
    /// Whether anything may be sent from it.
    pub active: bool,
}

/// What the ledger knows of the Redis that the lane was built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneGround {
    /// The identity it was built for; none if it never was, or must be built anew.
    pub redis_identity: Option<String>,
    /// Whether the building was finished, so that messages may have been fed and taken since.
    pub built: bool,
    /// How long ago the ledger last knew of every outcome there was.
    pub behind: Duration,
    /// Messages that were parked then: taken, and without an outcome.
    pub parked: i64,
}

/// A message-svc instance that may have messages of the lane in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneMembership {
    /// Who.
    pub instance: InstanceId,
    /// The identity of the Redis it joined on.
    pub identity: String,
    /// The most messages it can have in flight.
    pub concurrency: i32,
    /// How long ago it joined; not written.
    pub joined_ago: Duration,
}

/// Says that a sender is alive, forgets those silent for ten times `alive`, and counts the living.
pub async fn heartbeat(connection: &mut Connection, instance: InstanceId, alive: Duration) -> Result<i64> {
    sqlx::query(
        "-- lanes.heartbeat
         INSERT INTO sender_instances (instance, seen_at) VALUES ($1, clock_timestamp())
         ON CONFLICT (instance) DO UPDATE SET seen_at = EXCLUDED.seen_at",
    )
    .bind(instance.0)
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query(
        "-- lanes.count_living
         WITH gone AS (
             DELETE FROM sender_instances WHERE seen_at < clock_timestamp() - 10 * make_interval(secs => $1)
         )
         SELECT count(*) FROM sender_instances WHERE seen_at >= clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(alive.as_secs_f64())
    .fetch_one(connection)
    .await?;
    Ok(row.try_get(0)?)
}

/// Says that a sender ends.
pub async fn farewell(connection: &mut Connection, instance: InstanceId) -> Result<()> {
    sqlx::query("-- lanes.farewell\nDELETE FROM sender_instances WHERE instance = $1")
        .bind(instance.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Every lane there is; makes the rows of numbers that are new.
pub async fn list(connection: &mut Connection) -> Result<Vec<LaneStatus>> {
    sqlx::query(
        "-- lanes.ensure
         INSERT INTO lanes (lane)
         SELECT phone_number_id FROM phone_numbers
         WHERE NOT EXISTS (SELECT 1 FROM lanes WHERE lane = phone_number_id)
         ON CONFLICT DO NOTHING",
    )
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query(
        "-- lanes.list
         SELECT lane, LEAST(throughput_per_second, reported_throughput_per_second) AS throughput_per_second, active,
             CASE WHEN lease_until > clock_timestamp() THEN owner END AS owner
         FROM lanes JOIN phone_numbers ON phone_number_id = lane
         ORDER BY lane",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(LaneStatus {
                lane: crate::read::text(row, "lane")?,
                owner: row.try_get::<Option<Uuid>, _>("owner")?.map(InstanceId),
                throughput_per_second: row.try_get("throughput_per_second")?,
                active: row.try_get("active")?,
            })
        })
        .collect()
}

/// Takes a lane whose lease is over. While a transaction of the last owner is still under way nothing is taken
/// (the next look tries again); afterwards nothing of the last owner can follow.
pub async fn acquire(
    connection: &mut Connection,
    lane: &LaneId,
    owner: InstanceId,
    lease: Duration,
) -> Result<Option<Lease>> {
    let free = sqlx::query(
        "-- lanes.lock_free
         SELECT epoch FROM lanes WHERE lane = $1 AND lease_until <= clock_timestamp() FOR UPDATE SKIP LOCKED",
    )
    .bind(lane.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    if free.is_none() {
        return Ok(None);
    }
    let row = sqlx::query(
        "-- lanes.acquire
         UPDATE lanes SET owner = $2, epoch = epoch + 1, lease_until = clock_timestamp() + make_interval(secs => $3)
         WHERE lane = $1 RETURNING epoch",
    )
    .bind(lane.as_str())
    .bind(owner.0)
    .bind(lease.as_secs_f64())
    .fetch_one(connection)
    .await?;
    Ok(Some(Lease {
        lane: lane.clone(),
        epoch: row.try_get("epoch")?,
        owner,
    }))
}

/// Prolongs a lease.
///
/// # Errors
/// [`StoreError::LeaseLost`] when the lane has another owner.
pub async fn renew(connection: &mut Connection, lease: &Lease, duration: Duration) -> Result<()> {
    let done = sqlx::query(
        "-- lanes.renew
         UPDATE lanes SET lease_until = clock_timestamp() + make_interval(secs => $3)
         WHERE lane = $1 AND epoch = $2",
    )
    .bind(lease.lane.as_str())
    .bind(lease.epoch)
    .bind(duration.as_secs_f64())
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(lost(lease))
    }
}

/// Gives a lane back before the lease is over.
pub async fn release(connection: &mut Connection, lease: &Lease) -> Result<()> {
    sqlx::query(
        "-- lanes.release
         UPDATE lanes SET lease_until = '-infinity', owner = NULL WHERE lane = $1 AND epoch = $2",
    )
    .bind(lease.lane.as_str())
    .bind(lease.epoch)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes sure that the transaction's writes are the owner's: first statement of each of them. Until it
/// ends, nobody can take the lane over.
///
/// # Errors
/// [`StoreError::LeaseLost`] when the lane has another owner.
pub async fn fence(connection: &mut Connection, lease: &Lease) -> Result<()> {
    let row = sqlx::query("-- lanes.fence\nSELECT 1 FROM lanes WHERE lane = $1 AND epoch = $2 FOR KEY SHARE")
        .bind(lease.lane.as_str())
        .bind(lease.epoch)
        .fetch_optional(connection)
        .await?;
    if row.is_some() { Ok(()) } else { Err(lost(lease)) }
}

pub(crate) fn lost(lease: &Lease) -> StoreError {
    StoreError::LeaseLost {
        lane: lease.lane.to_string(),
        epoch: lease.epoch,
    }
}

/// Lets the statements of this transaction take long: walking a campaign of millions, once, when Redis was lost.
pub async fn allow_long_statements(connection: &mut Connection) -> Result<()> {
    sqlx::query("-- lanes.allow_long_statements\nSELECT set_config('statement_timeout', '10min', true)")
        .execute(connection)
        .await?;
    Ok(())
}

/// What the ledger knows of the lane's Redis.
pub async fn ground(connection: &mut Connection, lane: &LaneId) -> Result<LaneGround> {
    let row = sqlx::query(
        "-- lanes.ground
         SELECT redis_identity, built, parked,
             GREATEST(0, extract(epoch FROM clock_timestamp() - caught_up_at))::float8 AS behind
         FROM lanes WHERE lane = $1",
    )
    .bind(lane.as_str())
    .fetch_one(connection)
    .await?;
    Ok(LaneGround {
        redis_identity: row.try_get("redis_identity")?,
        built: row.try_get("built")?,
        behind: Duration::from_secs_f64(row.try_get("behind")?),
        parked: row.try_get("parked")?,
    })
}

/// What the lane was built on is lost: no member counts as confirmed until it joins again. Whoever has joined on
/// another Redis, on which the lane was not built yet, has taken nothing there since.
pub async fn begin_rebuild(connection: &mut Connection, lane: &LaneId) -> Result<()> {
    sqlx::query(
        "-- lanes.unconfirm_members
         UPDATE lane_members SET identity = ''
         WHERE lane = $1 AND identity = (SELECT redis_identity FROM lanes WHERE lane = $1)",
    )
    .bind(lane.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "-- lanes.begin_rebuild\nUPDATE lanes SET redis_identity = NULL, built = false WHERE lane = $1",
    )
    .bind(lane.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Records, with the new rounds, the Redis that the lane is now being built for.
pub async fn set_identity(connection: &mut Connection, lane: &LaneId, identity: &str) -> Result<()> {
    sqlx::query("-- lanes.set_identity\nUPDATE lanes SET redis_identity = $2, built = false WHERE lane = $1")
        .bind(lane.as_str())
        .bind(identity)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that the building is finished; before anything is fed.
pub async fn set_built(connection: &mut Connection, lane: &LaneId) -> Result<()> {
    sqlx::query("-- lanes.set_built\nUPDATE lanes SET built = true WHERE lane = $1")
        .bind(lane.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that `ago` the ledger knew of every outcome there was, and that `parked` messages were parked. Not while
/// the lane is being built: an empty Redis has no outcomes either.
pub async fn set_caught_up(
    connection: &mut Connection,
    lease: &Lease,
    ago: Duration,
    parked: i64,
) -> Result<()> {
    sqlx::query(
        "-- lanes.set_caught_up
         UPDATE lanes SET parked = $4,
             caught_up_at = GREATEST(caught_up_at, clock_timestamp() - make_interval(secs => $3))
         WHERE lane = $1 AND epoch = $2 AND built",
    )
    .bind(lease.lane.as_str())
    .bind(lease.epoch)
    .bind(ago.as_secs_f64())
    .bind(parked)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that an instance joined.
pub async fn record_member(
    connection: &mut Connection,
    lane: &LaneId,
    member: &LaneMembership,
) -> Result<()> {
    sqlx::query(
        "-- lanes.record_member
         INSERT INTO lane_members (lane, instance, identity, concurrency, joined_at)
         VALUES ($1, $2, $3, $4, clock_timestamp())
         ON CONFLICT (lane, instance) DO UPDATE
         SET identity = EXCLUDED.identity, concurrency = EXCLUDED.concurrency, joined_at = EXCLUDED.joined_at",
    )
    .bind(lane.as_str())
    .bind(member.instance.0)
    .bind(&member.identity)
    .bind(member.concurrency)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets instances: they left, or were waited for in vain.
pub async fn forget_members(
    connection: &mut Connection,
    lane: &LaneId,
    instances: &[InstanceId],
) -> Result<()> {
    let instances: Vec<Uuid> = instances.iter().map(|instance| instance.0).collect();
    sqlx::query("-- lanes.forget_members\nDELETE FROM lane_members WHERE lane = $1 AND instance = ANY($2)")
        .bind(lane.as_str())
        .bind(instances)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets instances that have not joined again for this long.
pub async fn forget_silent_members(
    connection: &mut Connection,
    lane: &LaneId,
    instances: &[InstanceId],
    silent_since: Duration,
) -> Result<()> {
    let instances: Vec<Uuid> = instances.iter().map(|instance| instance.0).collect();
    sqlx::query(
        "-- lanes.forget_silent_members
         DELETE FROM lane_members WHERE lane = $1 AND instance = ANY($2)
             AND joined_at < clock_timestamp() - make_interval(secs => $3)",
    )
    .bind(lane.as_str())
    .bind(instances)
    .bind(silent_since.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(())
}

/// The members of a lane.
pub async fn members(connection: &mut Connection, lane: &LaneId) -> Result<Vec<LaneMembership>> {
    let rows = sqlx::query(
        "-- lanes.members
         SELECT instance, identity, concurrency,
             GREATEST(0, extract(epoch FROM clock_timestamp() - joined_at))::float8 AS joined_ago
         FROM lane_members WHERE lane = $1 ORDER BY instance",
    )
    .bind(lane.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(LaneMembership {
                instance: InstanceId(row.try_get("instance")?),
                identity: row.try_get("identity")?,
                concurrency: row.try_get("concurrency")?,
                joined_ago: Duration::from_secs_f64(row.try_get("joined_ago")?),
            })
        })
        .collect()
}
