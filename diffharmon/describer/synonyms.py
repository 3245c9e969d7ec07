"""Other forms of the vocabulary's words, as language models really write them.

Only forms with one plain reading are here. What could mean several words ("morning": dawn, sunrise or daylight?) or
none ("soft", "outdoor") is left out on purpose: the model is asked again instead of being misread.
"""

from collections.abc import Mapping
from types import MappingProxyType

_FORMS = {
    "dazzling": "blinding glaring glare dazzled dazzle",
    "bright": "brightly brighter well-lit well-illuminated brightly-lit high-key luminous",
    "dim": "dimly dimmed dimmer dimly-lit poorly-lit low-light underexposed under-exposed faintly-lit",
    "dull": "drab lackluster lacklustre dullish",
    "shaded": "shady shade in-shade",
    "shadowed": "shadowy shadow shadows in-shadow",
    "cloudy": "overcast cloud clouds clouded cloudy-sky overcast-sky",
    "sunny": "sun sunlit sunlight sunshine sun-drenched sun-lit",
    "rainy": "rain raining drizzle drizzly rain-soaked",
    "snowy": "snow snowing snow-covered snowfall",
    "foggy": "fog fog-covered",
    "windy": "wind breezy gusty",
    "stormy": "storm thunderstorm thundery tempestuous",
    "clear": "clear-sky clear-skies cloudless clear-weather",
    "misty": "mist hazy haze",
    "warm": "warmth warmly warmer warmish warm-toned",
    "cool": "cooler coolness coolish cool-toned",
    "cold": "chilly chill colder cold-toned",
    "icy": "freezing frozen frosty frigid ice",
    "spring": "springtime",
    "summer": "summertime summery",
    "autumn": "fall autumnal",
    "winter": "wintertime wintry wintery",
    "dawn": "daybreak early-dawn",
    "sunrise": "sun-rise",
    "daylight": "day daytime day-time midday noon afternoon noontime day-light",
    "twilight": "blue-hour",
    "sunset": "sun-set sundown",
    "dusk": "dusky evening nightfall",
    "dark": "darkness darkened darker",
    "night": "nighttime night-time nocturnal midnight",
    "greyscale": "grayscale grey-scale gray-scale black-and-white monochrome monochromatic grey gray greyish grayish",
    "golden": "gold golden-hour gold-toned",
    "white": "whitish white-toned",
    "blue": "bluish blueish blue-toned",
    "green": "greenish green-toned",
    "yellow": "yellowish yellow-toned",
    "orange": "orangish orange-toned",
    "red": "reddish red-toned",
    "earthy": "brown brownish earth-tones earth-tone earth-toned earthen",
    "city": "urban downtown cityscape metropolitan",
    "rural": "countryside country farmland",
    "lake": "lakeside lakeshore",
    "ocean": "sea seaside seascape marine beach",
    "mountain": "mountains mountainous mountain-side mountainside",
    "forest": "forests woods woodland wooded forested",
    "desert": "deserts",
    "grassland": "grass grassy grasslands meadow prairie lawn",
    "sky": "skies",
    "space": "outer-space cosmos",
    "indoor": "indoors inside interior in-doors",
    "street": "streets road roadside",
}

SYNONYMS: Mapping[str, str] = MappingProxyType({form: word for word, forms in _FORMS.items() for form in forms.split()})
"""Form, with hyphens for spaces, to vocabulary word."""
