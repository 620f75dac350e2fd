//! Micro-benchmarks of what is done for every message in memory: time and allocations.
//!
//! `cargo bench --manifest-path bench/parts/Cargo.toml` runs them; `just bench micro` does the same.

use campaign_core::contracts::{MessageOutcome, Outcome, OutcomeSource, QueuedMessage};
use campaign_core::ids::{CampaignId, Generation, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_core::phone::{Region, canonicalise};
use campaign_core::template::{CompiledTemplate, Template};
use campaign_streams::StreamId;
use chrono::DateTime;
use divan::{AllocProfiler, Bencher, black_box};
use serde_json::json;
use std::alloc::System;
use uuid::Uuid;
use whatsapp_api::errors::ErrorBody;
use whatsapp_api::{SendResponse, decide};

#[global_allocator]
static ALLOCATOR: AllocProfiler<System> = AllocProfiler::new(System);

fn main() {
    divan::main();
}

const VALUES: [&str; 4] = ["Mariana", "c000123456", "R$ 1.234,56", "10/12/2026"];

fn template() -> CompiledTemplate {
    let template = json!({
        "name": "lembrete_fatura", "language": "pt_BR", "category": "UTILITY", "status": "APPROVED",
        "parameter_format": "NAMED",
        "components": [
            {"type": "HEADER", "format": "TEXT", "text": "Lembrete de fatura"},
            {"type": "BODY", "text": "Olá, {{nome}}! Sua fatura {{fatura}}, no valor de {{valor}}, vence ou venceu em \
                {{vencimento}}. Se já pagou, desconsidere esta mensagem."},
            {"type": "FOOTER", "text": "Responda SAIR para não receber mais"},
        ]
    });
    let template: Template = serde_json::from_value(template).expect("Meta's shape");
    template.compile().expect("a template that can be sent")
}

mod rendering {
    use super::*;

    /// What a message needs: its values, checked and put into their components.
    #[divan::bench]
    fn parameters(bencher: Bencher<'_, '_>) {
        let template = template();
        bencher.bench_local(|| {
            let values = black_box(&VALUES);
            template.check_values(values).expect("values that may be sent");
            drop(black_box(template.parameters(values)));
        });
    }

    /// The whole text, for people.
    #[divan::bench]
    fn preview(bencher: Bencher<'_, '_>) {
        let template = template();
        bencher.bench_local(|| template.preview(black_box(&VALUES)));
    }
}

mod entries {
    use super::*;

    fn message() -> QueuedMessage {
        QueuedMessage {
            phone: "+5531987654321".parse().expect("a phone"),
            variables: VALUES.map(str::to_owned).into(),
            fed_at_ms: 1_772_366_400_000,
            trace: String::new(),
        }
    }

    fn outcome() -> Outcome {
        let key = MessageKey {
            campaign: CampaignId(Uuid::from_u128(0x0195_5c4e_0000_7000_8000_0000_0000_0001)),
            generation: Generation(1),
            seq: Seq(123_456),
        };
        let at = DateTime::from_timestamp(1_772_366_400, 0).expect("a time");
        let mut outcome = MessageOutcome::new(key, MessageState::Accepted, at, OutcomeSource::Send);
        outcome.attempts = Some(1);
        outcome.wamid = Some("wamid.HBgMNTUzMTgwMDAwMDAxFQIAERgSMDAwMDAwMDAwMDAwMDAwMDAx".to_owned());
        Outcome::Message(outcome)
    }

    #[divan::bench]
    fn encode_message(bencher: Bencher<'_, '_>) {
        let message = message();
        bencher.bench_local(|| black_box(&message).to_values());
    }

    #[divan::bench]
    fn decode_message(bencher: Bencher<'_, '_>) {
        let values = message().to_values();
        bencher.bench_local(|| {
            let fields = ["p", "v", "f", "t"].into_iter().zip(&values);
            QueuedMessage::from_fields(fields.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
        });
    }

    #[divan::bench]
    fn encode_outcome(bencher: Bencher<'_, '_>) {
        let outcome = outcome();
        bencher.bench_local(|| serde_json::to_string(black_box(&outcome)));
    }

    #[divan::bench]
    fn decode_outcome(bencher: Bencher<'_, '_>) {
        let text = serde_json::to_string(&outcome()).expect("JSON");
        bencher.bench_local(|| serde_json::from_str::<Outcome>(black_box(&text)));
    }

    #[divan::bench]
    fn parse_id() -> StreamId {
        black_box("1-123456").parse().expect("an id")
    }
}

/// As the ERP has them: canonical, as people write, without the ninth digit, and wrong.
#[divan::bench(args = ["+5531987654321", "(31) 98765-4321", "55 31 8765-4321", "0800 123"])]
fn canonicalise_phone(raw: &str) -> bool {
    canonicalise(black_box(raw), Region::default()).is_ok()
}

mod answers {
    use super::*;

    const ACCEPTED: &str = r#"{"messaging_product":"whatsapp","contacts":[{"input":"+5531987654321","wa_id":"553187654321"}],"messages":[{"id":"wamid.HBgMNTUzMTgwMDAwMDAxFQIAERgSMDAwMDAwMDAwMDAwMDAwMDAx"}]}"#;
    const REFUSED: &str = r#"{"error":{"message":"(#130429) Rate limit hit","type":"OAuthException","code":130429,"error_data":{"messaging_product":"whatsapp","details":"Cloud API message throughput has been reached."},"fbtrace_id":"Az8or2yhqkZfEZ-_4Qn_Bam"}}"#;

    #[divan::bench]
    fn accepted() -> SendResponse {
        serde_json::from_str(black_box(ACCEPTED)).expect("an answer")
    }

    /// Reads the error and decides what to do about it.
    #[divan::bench]
    fn refused() -> whatsapp_api::Decision {
        let body: ErrorBody = serde_json::from_str(black_box(REFUSED)).expect("an error");
        decide(&body.error)
    }
}
