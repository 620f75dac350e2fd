//! Names, put together from the commonest Brazilian first names and surnames (IBGE, Nomes no Brasil).

use super::dice::Dice;

const FIRST_NAMES: [&str; 96] = [
    "Maria",
    "José",
    "Ana",
    "João",
    "Antônio",
    "Francisco",
    "Carlos",
    "Paulo",
    "Pedro",
    "Lucas",
    "Luiz",
    "Marcos",
    "Luís",
    "Gabriel",
    "Rafael",
    "Daniel",
    "Marcelo",
    "Bruno",
    "Eduardo",
    "Felipe",
    "Rodrigo",
    "Manoel",
    "Mateus",
    "André",
    "Fernando",
    "Fábio",
    "Leonardo",
    "Gustavo",
    "Guilherme",
    "Leandro",
    "Tiago",
    "Anderson",
    "Ricardo",
    "Márcio",
    "Jorge",
    "Alexandre",
    "Roberto",
    "Edson",
    "Diego",
    "Vítor",
    "Sérgio",
    "Cláudio",
    "Matheus",
    "Thiago",
    "Geraldo",
    "Adriano",
    "Luciano",
    "Júlio",
    "Caíque",
    "Otávio",
    "Francisca",
    "Antônia",
    "Adriana",
    "Juliana",
    "Márcia",
    "Fernanda",
    "Patrícia",
    "Aline",
    "Sandra",
    "Camila",
    "Amanda",
    "Bruna",
    "Jéssica",
    "Letícia",
    "Júlia",
    "Luciana",
    "Vanessa",
    "Mariana",
    "Gabriela",
    "Vera",
    "Vitória",
    "Larissa",
    "Cláudia",
    "Beatriz",
    "Luana",
    "Rita",
    "Sônia",
    "Renata",
    "Eliane",
    "Josefa",
    "Simone",
    "Natália",
    "Cristiane",
    "Carla",
    "Débora",
    "Rosângela",
    "Jaqueline",
    "Rosa",
    "Daniela",
    "Aparecida",
    "Marlene",
    "Terezinha",
    "Raimunda",
    "Andréia",
    "Conceição",
    "Inês",
];

const SECOND_NAMES: [&str; 16] = [
    "Clara", "Eduarda", "Luíza", "Helena", "Cristina", "Paula", "Vitória", "Augusto", "Henrique", "Carlos",
    "Miguel", "Antônio", "César", "Otávio", "Inácio", "Roberto",
];

const SURNAMES: [&str; 80] = [
    "Silva",
    "Santos",
    "Oliveira",
    "Souza",
    "Rodrigues",
    "Ferreira",
    "Alves",
    "Pereira",
    "Lima",
    "Gomes",
    "Costa",
    "Ribeiro",
    "Martins",
    "Carvalho",
    "Almeida",
    "Lopes",
    "Soares",
    "Fernandes",
    "Vieira",
    "Barbosa",
    "Rocha",
    "Dias",
    "Nascimento",
    "Andrade",
    "Moreira",
    "Nunes",
    "Marques",
    "Machado",
    "Mendes",
    "Freitas",
    "Cardoso",
    "Ramos",
    "Gonçalves",
    "Santana",
    "Teixeira",
    "Araújo",
    "Pinto",
    "Cavalcante",
    "Batista",
    "Campos",
    "Moura",
    "Castro",
    "Duarte",
    "Correia",
    "Monteiro",
    "Farias",
    "Melo",
    "Rezende",
    "Assunção",
    "Brandão",
    "Guimarães",
    "Magalhães",
    "Assis",
    "Conceição",
    "Sá",
    "Estêvão",
    "Antunes",
    "Azevedo",
    "Barros",
    "Borges",
    "Cunha",
    "Figueiredo",
    "Fonseca",
    "Leite",
    "Macedo",
    "Miranda",
    "Morais",
    "Nogueira",
    "Pacheco",
    "Peixoto",
    "Pires",
    "Queiroz",
    "Sales",
    "Sampaio",
    "Siqueira",
    "Tavares",
    "Torres",
    "Vasconcelos",
    "Xavier",
    "Queirós",
];

const SURNAMES_WITH_PARTICLE: [&str; 16] = [
    "da Silva",
    "dos Santos",
    "de Oliveira",
    "de Souza",
    "da Costa",
    "de Almeida",
    "do Nascimento",
    "de Andrade",
    "da Rocha",
    "de Freitas",
    "de Melo",
    "da Cunha",
    "de Castro",
    "de Moura",
    "de Araújo",
    "da Conceição",
];

/// One or two first names, one or two surnames, the last often with its particle.
pub(super) fn full_name(dice: &mut Dice) -> String {
    let mut name = dice.one_of(&FIRST_NAMES).to_owned();
    if dice.percent(20) {
        name.push(' ');
        name.push_str(dice.one_of(&SECOND_NAMES));
    }
    if dice.percent(60) {
        name.push(' ');
        name.push_str(dice.one_of(&SURNAMES));
    }
    name.push(' ');
    let last_names = if dice.percent(50) {
        &SURNAMES[..]
    } else {
        &SURNAMES_WITH_PARTICLE[..]
    };
    name.push_str(dice.one_of(last_names));
    name
}

/// The name as somebody typed it: sometimes all in capitals, all small, or with blanks too many.
pub(super) fn as_typed(dice: &mut Dice, name: String) -> String {
    match dice.below(100) {
        0..10 => name.to_uppercase(),
        10..13 => name.to_lowercase(),
        13..16 => format!(" {} ", name.replace(' ', "  ")),
        _ => name,
    }
}

/// An address that no one can have (RFC 2606).
pub(super) fn email(name: &str, index: u64) -> String {
    let in_email = |word: Option<&str>| -> String {
        let plain = plain(word.unwrap_or_default());
        plain.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let mut words = name.split(' ');
    let first = in_email(words.next());
    let last = in_email(words.next_back());
    let domain = ["example.com", "example.net", "example.org"][(index % 3) as usize];
    format!("{first}.{last}{index}@{domain}")
}

/// The text in plain letters; knows the accents of Portuguese.
pub(super) fn without_accents(text: &str) -> String {
    plain(text).collect()
}

fn plain(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|letter| match letter {
        'á' | 'à' | 'â' | 'ã' => 'a',
        'Á' | 'Â' | 'Ã' => 'A',
        'é' | 'ê' => 'e',
        'É' => 'E',
        'í' => 'i',
        'Í' => 'I',
        'ó' | 'ô' | 'õ' => 'o',
        'Ó' => 'O',
        'ú' => 'u',
        'ç' => 'c',
        other => other,
    })
}
