//! Where customers live: every state's capital and the larger cities, with their area codes (Anatel's
//! numbering plan) and shares that follow the population (IBGE, census of 2022), so nearly one in four
//! lives in São Paulo state.

use super::dice::{Dice, Topic};

/// A city.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) city: &'static str,
    pub(crate) state: &'static str,
    pub(crate) area_code: u8,
    weight: u16,
}

const fn place(city: &'static str, state: &'static str, area_code: u8, weight: u16) -> Place {
    Place {
        city,
        state,
        area_code,
        weight,
    }
}

/// In shares of [`TOTAL_WEIGHT`].
static PLACES: [Place; 69] = [
    place("São Paulo", "SP", 11, 785),
    place("Guarulhos", "SP", 11, 130),
    place("São Bernardo do Campo", "SP", 11, 80),
    place("Santo André", "SP", 11, 75),
    place("Osasco", "SP", 11, 75),
    place("São José dos Campos", "SP", 12, 90),
    place("Santos", "SP", 13, 80),
    place("Bauru", "SP", 14, 60),
    place("Sorocaba", "SP", 15, 90),
    place("Ribeirão Preto", "SP", 16, 100),
    place("São José do Rio Preto", "SP", 17, 70),
    place("Presidente Prudente", "SP", 18, 45),
    place("Campinas", "SP", 19, 140),
    place("Piracicaba", "SP", 19, 55),
    place("Rio de Janeiro", "RJ", 21, 500),
    place("São Gonçalo", "RJ", 21, 90),
    place("Niterói", "RJ", 21, 60),
    place("Campos dos Goytacazes", "RJ", 22, 50),
    place("Petrópolis", "RJ", 24, 40),
    place("Vitória", "ES", 27, 60),
    place("Vila Velha", "ES", 27, 70),
    place("Cachoeiro de Itapemirim", "ES", 28, 35),
    place("Belo Horizonte", "MG", 31, 320),
    place("Contagem", "MG", 31, 90),
    place("Juiz de Fora", "MG", 32, 80),
    place("Governador Valadares", "MG", 33, 40),
    place("Uberlândia", "MG", 34, 110),
    place("Poços de Caldas", "MG", 35, 40),
    place("Divinópolis", "MG", 37, 40),
    place("Montes Claros", "MG", 38, 60),
    place("Curitiba", "PR", 41, 240),
    place("Ponta Grossa", "PR", 42, 50),
    place("Londrina", "PR", 43, 80),
    place("Maringá", "PR", 44, 60),
    place("Foz do Iguaçu", "PR", 45, 40),
    place("Florianópolis", "SC", 48, 80),
    place("Joinville", "SC", 47, 90),
    place("Chapecó", "SC", 49, 40),
    place("Porto Alegre", "RS", 51, 220),
    place("Pelotas", "RS", 53, 50),
    place("Caxias do Sul", "RS", 54, 70),
    place("Santa Maria", "RS", 55, 45),
    place("Brasília", "DF", 61, 280),
    place("Goiânia", "GO", 62, 190),
    place("Rio Verde", "GO", 64, 40),
    place("Palmas", "TO", 63, 60),
    place("Cuiabá", "MT", 65, 80),
    place("Rondonópolis", "MT", 66, 30),
    place("Campo Grande", "MS", 67, 100),
    place("Rio Branco", "AC", 68, 40),
    place("Porto Velho", "RO", 69, 60),
    place("Salvador", "BA", 71, 300),
    place("Ilhéus", "BA", 73, 40),
    place("Feira de Santana", "BA", 75, 90),
    place("Vitória da Conquista", "BA", 77, 50),
    place("Aracaju", "SE", 79, 80),
    place("Recife", "PE", 81, 270),
    place("Petrolina", "PE", 87, 50),
    place("Maceió", "AL", 82, 110),
    place("João Pessoa", "PB", 83, 130),
    place("Natal", "RN", 84, 120),
    place("Fortaleza", "CE", 85, 330),
    place("Juazeiro do Norte", "CE", 88, 50),
    place("Teresina", "PI", 86, 110),
    place("São Luís", "MA", 98, 150),
    place("Belém", "PA", 91, 230),
    place("Manaus", "AM", 92, 230),
    place("Macapá", "AP", 96, 55),
    place("Boa Vista", "RR", 95, 50),
];

/// Where each place's share begins, from 0 to [`TOTAL_WEIGHT`].
static STARTS: [u64; PLACES.len()] = {
    let mut starts = [0; PLACES.len()];
    let mut index = 1;
    while index < PLACES.len() {
        starts[index] = starts[index - 1] + PLACES[index - 1].weight as u64;
        index += 1;
    }
    starts
};
const TOTAL_WEIGHT: u64 = STARTS[PLACES.len() - 1] + PLACES[PLACES.len() - 1].weight as u64;

/// Where the customer at `index` lives.
pub(crate) fn of(seed: u64, index: u64) -> &'static Place {
    let drawn = Dice::new(seed, Topic::Place, index).below(TOTAL_WEIGHT);
    &PLACES[STARTS.partition_point(|start| *start <= drawn) - 1]
}

/// The city as somebody typed it: sometimes in capitals and without accents.
pub(crate) fn as_typed(dice: &mut Dice, city: &str) -> String {
    if dice.percent(10) {
        super::names::without_accents(city).to_uppercase()
    } else {
        city.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use campaign_core::segment::STATES;
    use std::collections::BTreeSet;

    #[test]
    fn every_state_has_customers() {
        let states: BTreeSet<_> = PLACES.iter().map(|place| place.state).collect();
        assert_eq!(states, BTreeSet::from(STATES));
    }
}
