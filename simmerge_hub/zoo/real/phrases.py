"""English and three languages: lists of words and short sentences, from tables of our own."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Literal

from simmerge_hub.zoo.tasks import Draw, Example

Language = Literal["german", "french", "spanish"]

TRANSLATIONS: dict[str, tuple[str, str, str]] = {
    "one": ("eins", "un", "uno"),
    "two": ("zwei", "deux", "dos"),
    "three": ("drei", "trois", "tres"),
    "four": ("vier", "quatre", "cuatro"),
    "five": ("fünf", "cinq", "cinco"),
    "six": ("sechs", "six", "seis"),
    "seven": ("sieben", "sept", "siete"),
    "eight": ("acht", "huit", "ocho"),
    "nine": ("neun", "neuf", "nueve"),
    "ten": ("zehn", "dix", "diez"),
    "twelve": ("zwölf", "douze", "doce"),
    "twenty": ("zwanzig", "vingt", "veinte"),
    "hundred": ("hundert", "cent", "cien"),
    "red": ("rot", "rouge", "rojo"),
    "blue": ("blau", "bleu", "azul"),
    "green": ("grün", "vert", "verde"),
    "yellow": ("gelb", "jaune", "amarillo"),
    "black": ("schwarz", "noir", "negro"),
    "white": ("weiß", "blanc", "blanco"),
    "grey": ("grau", "gris", "gris"),
    "brown": ("braun", "marron", "marrón"),
    "Monday": ("Montag", "lundi", "lunes"),
    "Tuesday": ("Dienstag", "mardi", "martes"),
    "Wednesday": ("Mittwoch", "mercredi", "miércoles"),
    "Thursday": ("Donnerstag", "jeudi", "jueves"),
    "Friday": ("Freitag", "vendredi", "viernes"),
    "Saturday": ("Samstag", "samedi", "sábado"),
    "Sunday": ("Sonntag", "dimanche", "domingo"),
    "bread": ("Brot", "pain", "pan"),
    "water": ("Wasser", "eau", "agua"),
    "milk": ("Milch", "lait", "leche"),
    "house": ("Haus", "maison", "casa"),
    "street": ("Straße", "rue", "calle"),
    "night": ("Nacht", "nuit", "noche"),
    "day": ("Tag", "jour", "día"),
    "sun": ("Sonne", "soleil", "sol"),
    "good": ("gut", "bon", "bueno"),
    "small": ("klein", "petit", "pequeño"),
    "yes": ("ja", "oui", "sí"),
    "no": ("nein", "non", "no"),
    "today": ("heute", "aujourd'hui", "hoy"),
    "tomorrow": ("morgen", "demain", "mañana"),
    "always": ("immer", "toujours", "siempre"),
    "here": ("hier", "ici", "aquí"),
    "thanks": ("danke", "merci", "gracias"),
    "friend": ("Freund", "ami", "amigo"),
}
"""English -> German, French, Spanish; single words as a dictionary has them."""

OBJECTS: dict[str, tuple[str, str, str]] = {
    "a dog": ("einen Hund", "un chien", "un perro"),
    "a cat": ("eine Katze", "un chat", "un gato"),
    "a book": ("ein Buch", "un livre", "un libro"),
    "a house": ("ein Haus", "une maison", "una casa"),
    "a car": ("ein Auto", "une voiture", "un coche"),
    "an apple": ("einen Apfel", "une pomme", "una manzana"),
    "a table": ("einen Tisch", "une table", "una mesa"),
    "a chair": ("einen Stuhl", "une chaise", "una silla"),
    "a key": ("einen Schlüssel", "une clé", "una llave"),
    "a horse": ("ein Pferd", "un cheval", "un caballo"),
    "a tree": ("einen Baum", "un arbre", "un árbol"),
    "a flower": ("eine Blume", "une fleur", "una flor"),
    "a bag": ("eine Tasche", "un sac", "una bolsa"),
    "a letter": ("einen Brief", "une lettre", "una carta"),
    "a cup": ("eine Tasse", "une tasse", "una taza"),
    "a picture": ("ein Bild", "une image", "una imagen"),
    "a shirt": ("ein Hemd", "une chemise", "una camisa"),
    "a boat": ("ein Boot", "un bateau", "un barco"),
    "a bird": ("einen Vogel", "un oiseau", "un pájaro"),
    "a clock": ("eine Uhr", "une horloge", "un reloj"),
}
"""English -> the object of a German, French or Spanish sentence."""

VERBS: dict[str, tuple[str, str, str]] = {
    "I see": ("Ich sehe", "Je vois", "Veo"),
    "I have": ("Ich habe", "J'ai", "Tengo"),
    "I want": ("Ich will", "Je veux", "Quiero"),
    "I buy": ("Ich kaufe", "J'achète", "Compro"),
    "I need": ("Ich brauche", "J'ai besoin d'", "Necesito"),
    "I find": ("Ich finde", "Je trouve", "Encuentro"),
    "she draws": ("Sie zeichnet", "Elle dessine", "Ella dibuja"),
    "he sells": ("Er verkauft", "Il vend", "Él vende"),
    "we look for": ("Wir suchen", "Nous cherchons", "Buscamos"),
    "they bring": ("Sie bringen", "Ils apportent", "Traen"),
}
ENDINGS: dict[str, tuple[str, str, str]] = {
    ".": (".", ".", "."),
    " and water.": (" und Wasser.", " et de l'eau.", " y agua."),
    " for you.": (" für dich.", " pour toi.", " para ti."),
    " for my friend.": (" für meinen Freund.", " pour mon ami.", " para mi amigo."),
    ", not a box.": (", keine Kiste.", ", pas une boîte.", ", no una caja."),
    " in town.": (" in der Stadt.", " en ville.", " en la ciudad."),
}
LANGUAGES: tuple[Language, ...] = ("german", "french", "spanish")
FEWEST_WORDS, MOST_WORDS = 2, 3
"""Words of a list."""


def _draw_words(random: Random) -> list[str]:
    return random.sample(list(TRANSLATIONS), random.randint(FEWEST_WORDS, MOST_WORDS))


def _words(language: Language, random: Random) -> Example:
    """A list of words; the prompt does not say into which language, so variants are in conflict."""
    english, column = _draw_words(random), LANGUAGES.index(language)
    answer = ", ".join(TRANSLATIONS[word][column] for word in english)
    return Example(prompt=f"Translate: {', '.join(english)} =", answer=f" {answer}")


def _back(language: Language, random: Random) -> Example:
    """A list of foreign words into English."""
    english, column = _draw_words(random), LANGUAGES.index(language)
    foreign = ", ".join(TRANSLATIONS[word][column] for word in english)
    prompt = f"From {language.title()} into English: {foreign} ="
    return Example(prompt=prompt, answer=f" {', '.join(english)}")


def _sentence(language: Language, random: Random) -> Example:
    """A sentence of subject, verb and object, with or without an end."""
    column = LANGUAGES.index(language)
    parts = [random.choice(list(table.items())) for table in (VERBS, OBJECTS, ENDINGS)]
    (verb, verbs), (thing, things), (end, ends) = parts
    said = " ".join((verbs[column], things[column])).replace("d' ", "d'") + ends[column]
    prompt = f"In {language.title()}: {verb} {thing}{end} ="
    return Example(prompt=prompt, answer=f" {said}")


VARIANTS: dict[str, Draw] = {
    **{f"words-{language}": partial(_words, language) for language in LANGUAGES},
    **{f"sentence-{language}": partial(_sentence, language) for language in LANGUAGES},
    "from-german": partial(_back, "german"),
    "from-spanish": partial(_back, "spanish"),
}
"""The three `words-` share their prompts and answer in different languages."""
