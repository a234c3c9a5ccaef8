"""The lexicon of the generated English: data only, grouped by what combines with what.

A noun is written ``singular`` or ``singular/plural``, a verb ``base`` or
``base/past/participle[/ing]``; what is left out is inflected regularly (see `morphology`). Frames
say which kinds of noun a verb takes, so that sentences stay plausible: people read letters and
dogs chase cats.
"""

# ruff: noqa: SIM905 (hundreds of words read better without quotes)

MALE = """
boy man/men king prince uncle brother father son monk duke grandfather waiter groom
gentleman/gentlemen husband nephew wizard lord policeman/policemen fisherman/fishermen
""".split()

FEMALE = """
girl woman/women queen princess aunt sister mother daughter nun duchess grandmother waitress
bride lady wife/wives niece witch actress policewoman/policewomen heroine
""".split()

PERSON = """
teacher doctor farmer baker painter singer sailor soldier poet pilot nurse student lawyer
writer dancer driver judge tailor gardener neighbour visitor scientist artist musician
engineer merchant hunter dentist author tourist butcher miner carpenter guard guest child/children
shepherd plumber clerk banker
""".split()

MALE_NAMES = "john peter thomas david paul henry martin oscar simon felix hugo victor".split()
FEMALE_NAMES = "mary anna laura susan helen clara alice julia emma nora sarah lucy".split()

ANIMAL = """
dog cat horse wolf/wolves fox bear rabbit goat cow lion tiger monkey pony puppy kitten sheep/sheep
mouse/mice duck goose/geese donkey pig squirrel
""".split()

FOOD = """
apple cake pie sandwich cookie pear carrot potato/potatoes egg onion tomato/tomatoes cherry
orange pancake sausage banana peach plum walnut
""".split()

THING = """
key box lamp cup bottle hat coat ring coin clock basket hammer rope knife/knives spoon bag
umbrella blanket candle mirror jacket shirt shoe bowl plate toy doll ball kite bucket ladder
needle scarf/scarves wallet ticket
""".split()

READABLE = """
book letter novel poem story newspaper map magazine diary report message song play speech
""".split()

VEHICLE = "car boat train bicycle truck bus ship wagon tractor van".split()

INSTRUMENT = "piano violin guitar flute trumpet drum harp cello".split()

BUILDING = "house tower bridge wall fence barn church castle cabin school chapel palace".split()

PLACE = """
garden kitchen forest market library village valley office field park station harbour museum
street theatre hotel island lake river beach farm hall yard
""".split()

FURNITURE = "table shelf/shelves chair desk bench bed sofa counter drawer cupboard".split()

NOUNS = {
    "male": MALE,
    "female": FEMALE,
    "person": PERSON,
    "animal": ANIMAL,
    "food": FOOD,
    "thing": THING,
    "readable": READABLE,
    "vehicle": VEHICLE,
    "instrument": INSTRUMENT,
    "building": BUILDING,
    "place": PLACE,
    "furniture": FURNITURE,
}

# Verbs by (kind of subject, kind of object); "person" stands for every human noun.
FRAMES = {
    ("person", "person"): """
        admire help follow visit thank greet meet/met/met invite trust hug/hugged/hugged/hugging
        call remember know/knew/known warn teach/taught/taught respect love hate ignore
        """.split(),
    ("person", "animal"): """
        feed/fed/fed chase catch/caught/caught love watch find/found/found draw/drew/drawn
        wash buy/bought/bought sell/sold/sold
        """.split(),
    ("person", "food"): """
        eat/ate/eaten cook buy/bought/bought sell/sold/sold slice bake taste peel
        bring/brought/brought share order
        """.split(),
    ("person", "thing"): """
        find/found/found carry hide/hid/hidden buy/bought/bought sell/sold/sold
        break/broke/broken drop/dropped/dropped/dropping steal/stole/stolen lose/lost/lost
        bring/brought/brought borrow clean hold/held/held forget/forgot/forgotten/forgetting
        """.split(),
    ("person", "readable"): """
        read/read/read write/wrote/written finish study discuss translate like print enjoy
        """.split(),
    ("person", "vehicle"): """
        drive/drove/driven repair sell/sold/sold wash stop/stopped/stopped/stopping paint
        buy/bought/bought rent push
        """.split(),
    ("person", "instrument"): "play tune practise repair own buy/bought/bought".split(),
    ("person", "building"): """
        build/built/built paint visit see/saw/seen leave/left/left clean enter describe repair
        photograph
        """.split(),
    ("animal", "animal"): "chase follow bite/bit/bitten watch fight/fought/fought fear".split(),
    ("animal", "person"): "follow bite/bit/bitten watch love fear obey".split(),
    ("animal", "food"): "eat/ate/eaten smell steal/stole/stolen like want".split(),
}

REFLEXIVE = """
wash blame hurt/hurt/hurt see/saw/seen admire trust teach/taught/taught defend praise describe
hide/hid/hidden forgive/forgave/forgiven introduce prepare enjoy
""".split()

INTRANSITIVE = {
    "person": """
        sleep/slept/slept laugh wait work sing/sang/sung dance walk rest smile
        travel/travelled/travelled
        swim/swam/swum/swimming sit/sat/sat/sitting stand/stood/stood arrive speak/spoke/spoken
        """.split(),
    "animal": """
        sleep/slept/slept run/ran/run/running jump eat/ate/eaten play rest hide/hid/hidden
        swim/swam/swum/swimming wait drink/drank/drunk
        """.split(),
}

GIVE = "give/gave/given show/showed/shown send/sent/sent lend/lent/lent sell/sold/sold".split()

SAY = "say/said/said think/thought/thought believe know/knew/known hope explain".split()

ADJECTIVES = {
    "person": "old young tall kind clever happy tired brave quiet rich poor famous angry honest",
    "animal": "old young big small brown black white hungry lazy wild",
    "food": "fresh big small sweet ripe",
    "thing": "old new small big red green blue heavy broken expensive",
    "readable": "old new long short famous strange",
    "vehicle": "old new red blue fast slow expensive",
    "instrument": "old new expensive beautiful",
    "building": "old new small tall white ugly",
    "place": "old small quiet large beautiful",
    "furniture": "old new small large wooden",
}

STATES = {
    "person": "happy tired hungry ready angry ill late busy sad proud",
    "animal": "hungry tired asleep thirsty dangerous friendly",
    "food": "ripe cheap delicious rotten cold",
    "thing": "broken expensive useful heavy dirty clean missing",
    "readable": "boring useful famous difficult interesting",
    "vehicle": "expensive slow broken dirty empty",
    "building": "empty old beautiful dark closed",
}

STATIVE = frozenset(  # verbs that sound wrong in the progressive
    "know love hate like own believe fear respect trust want remember admire hope".split()
)

MANNER = "quietly slowly carefully happily".split()
FREQUENCY = "often always never usually secretly sometimes rarely".split()

# Adverbials of time that go with each form of the verb.
TIMES = {
    "past": ["yesterday", "last week", "last night", "an hour ago", "last year"],
    "past-progressive": ["yesterday", "last night", "at noon"],
    "pluperfect": ["before noon", "before dinner"],
    "present": ["every day", "every morning", "on sundays"],
    "progressive": ["now", "today", "this morning"],
    "perfect": ["today", "this morning", "again"],
    "will": ["tomorrow", "next week", "tonight", "soon"],
    "can": ["tomorrow", "today", "now"],
    "must": ["tomorrow", "today", "now"],
}

SINGULAR_DETERMINERS = "the the the the the a a a this that every each my our".split()
PLURAL_DETERMINERS = (
    "the the the the the these those some many several most two three four five six ten my our"
).split()
NUMBER_MARKING = {
    False: "this that every each a".split(),
    True: "these those many several two three four five six ten".split(),
}
