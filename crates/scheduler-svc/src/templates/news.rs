//! A template's status changed: its versions follow, and the campaigns that send it are held or go on.
//!
//! Holds are written here and applied by the lanes' owners, as a person's pause is. Templates are locked before
//! campaigns, and campaigns before holds.

use campaign_core::campaign::{Campaign, HoldKind};
use campaign_core::ids::{AccountId, LaneId, TemplateId};
use campaign_core::template::{TemplateStatus, is_lifted_by_approval, status_hold_reason};
use campaign_store::holds::HoldScope;
use campaign_store::templates::StoredTemplate;
use campaign_store::{Connection, Result, campaigns, holds, templates};
use std::collections::BTreeSet;

/// Who raises these holds.
pub(crate) const RAISED_BY: &str = "whatsapp";

/// What followed from news.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Whether a version has another status now.
    pub(crate) changed: bool,
    /// Numbers whose campaigns were held or released.
    pub(crate) lanes: BTreeSet<LaneId>,
}

/// What Meta says of a template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) status: TemplateStatus,
    /// Why, in Meta's words.
    pub(crate) reason: Option<&'a str>,
    /// Meta's id of it, where it is named.
    pub(crate) meta_id: Option<&'a str>,
}

/// Gives every version that it concerns the status, and holds or releases what sends them.
pub(crate) async fn follow(
    connection: &mut Connection,
    account: AccountId,
    name: &str,
    language: &str,
    said: Said<'_>,
) -> Result<Effect> {
    let versions = templates::lock_versions(&mut *connection, account, name, language).await?;
    follow_versions(connection, &versions, said).await
}

/// As [`follow`], for versions that are locked, newest first.
pub(crate) async fn follow_versions(
    connection: &mut Connection,
    versions: &[StoredTemplate],
    said: Said<'_>,
) -> Result<Effect> {
    let concerned = if said.status.concerns_all_versions() {
        versions
    } else {
        versions.get(..1).unwrap_or_default()
    };
    let mut effect = Effect::default();
    let mut ids = Vec::with_capacity(concerned.len());
    for (age, version) in concerned.iter().enumerate() {
        // What was never approved is not approved by a newer version.
        let is_reinstated = version.template.status.concerns_all_versions();
        if age > 0 && said.status.can_be_sent() && !is_reinstated {
            continue;
        }
        ids.push(version.id);
        let differs =
            version.template.status != said.status || version.status_reason.as_deref() != said.reason;
        let named = said.meta_id.is_some() && version.meta_id.as_deref() != said.meta_id;
        if differs || named {
            templates::set_from_meta(
                &mut *connection,
                version.id,
                said.status,
                said.reason,
                said.meta_id,
            )
            .await?;
        }
        effect.changed |= version.template.status != said.status;
    }
    // A hold that a person lifted is not raised again by the same word.
    if effect.changed || said.status.can_be_sent() {
        effect.lanes = settle(connection, &ids, said.status, said.reason).await?;
    }
    Ok(effect)
}

/// A newer version stands at WhatsApp, so versions that wait for approval will not get it: says so where campaigns
/// wait for them.
pub(crate) async fn supersede(
    connection: &mut Connection,
    versions: &[StoredTemplate],
) -> Result<BTreeSet<LaneId>> {
    let mut lanes = BTreeSet::new();
    let Some((newest, older)) = versions.split_first() else {
        return Ok(lanes);
    };
    for version in older {
        let status = version.template.status;
        if status.concerns_all_versions() {
            continue;
        }
        let reason = format!(
            "version {} replaced it at WhatsApp: edit the campaign to send that",
            newest.version
        );
        templates::set_from_meta(&mut *connection, version.id, status, Some(&reason), None).await?;
        lanes.extend(settle(&mut *connection, &[version.id], status, Some(&reason)).await?);
    }
    Ok(lanes)
}

/// Holds or releases every unfinished campaign that sends one of these versions.
pub(crate) async fn settle(
    connection: &mut Connection,
    templates: &[TemplateId],
    status: TemplateStatus,
    reason: Option<&str>,
) -> Result<BTreeSet<LaneId>> {
    let mut lanes = BTreeSet::new();
    for campaign in campaigns::of_templates(&mut *connection, templates).await? {
        if settle_campaign(&mut *connection, &campaign, status, reason).await? {
            lanes.insert(campaign.phone_number_id);
        }
    }
    Ok(lanes)
}

/// Holds a campaign that cannot be sent because of its template's status, or lifts such a hold. Returns whether
/// that changed anything.
pub(crate) async fn settle_campaign(
    connection: &mut Connection,
    campaign: &Campaign,
    status: TemplateStatus,
    reason: Option<&str>,
) -> Result<bool> {
    let held = standing(&mut *connection, campaign).await?;
    let ours = held.as_deref().is_none_or(is_lifted_by_approval);
    if !ours {
        // For a person: whatever the status, its values do not fit.
        return Ok(false);
    }
    if status.can_be_sent() {
        return match held {
            Some(_) => holds::lift_campaign(connection, campaign.id, HoldKind::Template).await,
            None => Ok(false),
        };
    }
    if !status.stops_what_runs() && campaign.status.is_started() && held.is_none() {
        return Ok(false);
    }
    let reason = status_hold_reason(status, reason);
    holds::raise_campaign(
        connection,
        campaign.id,
        HoldKind::Template,
        &reason,
        RAISED_BY,
        None,
    )
    .await
}

/// The reason of the campaign's hold of kind `template`.
async fn standing(connection: &mut Connection, campaign: &Campaign) -> Result<Option<String>> {
    let holds = holds::of_campaign(connection, campaign.id).await?;
    let of_template = holds
        .into_iter()
        .find(|hold| hold.kind == HoldKind::Template && hold.scope == HoldScope::Campaign);
    Ok(of_template.map(|hold| hold.reason))
}

/// Recipients complain about a template, or no longer: its campaigns are held before Meta stops it.
pub(crate) async fn flag(
    connection: &mut Connection,
    account: AccountId,
    name: &str,
    language: &str,
    flagged: Option<&str>,
) -> Result<BTreeSet<LaneId>> {
    let versions = templates::lock_versions(&mut *connection, account, name, language).await?;
    let ids: Vec<TemplateId> = versions.iter().map(|version| version.id).collect();
    let mut lanes = BTreeSet::new();
    for campaign in campaigns::of_templates(&mut *connection, &ids).await? {
        let changed = match flagged {
            Some(reason) => {
                holds::raise_campaign(
                    connection,
                    campaign.id,
                    HoldKind::Quality,
                    reason,
                    RAISED_BY,
                    None,
                )
                .await?
            }
            None => holds::lift_campaign(connection, campaign.id, HoldKind::Quality).await?,
        };
        if changed {
            lanes.insert(campaign.phone_number_id);
        }
    }
    Ok(lanes)
}
