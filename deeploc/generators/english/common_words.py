"""Common short English words that random letters could spell by accident; data only."""

# ruff: noqa: SIM905 (hundreds of words read better without quotes)

COMMON_WORDS = frozenset(
    """
a i o ad ah am an as at aw ax be by do ed em es ex fa go ha he hi ho id if in is it iv la lo ma me
mi mo mu my no nu of oh on op or ow ox oz pa pi re so ti to um up us vi we ado age ago aid ail aim
air ale all and ani any ape are arm art ask awe bad bag ban bar bat bay bed beg bet bib bid big bin
bit bob bog boo bop bot bow box boy bud bug bum bun bur bus but buy can cry cup cut dab dad dam day
deb den dew did die dig dim din dip dis dog don dos dot doz dub dud due dug dun ear eat eel egg ego
eke elf elm emo emu end era ere err eta eve ewe fad fag fan far fat fed fee fem fen fer few fez fib
fig fin fir fit fix fob fog fop for fum fun fur gab gad gag gal gap gas gel gem gen get gig gin gob
god got gov gum gun gut had has her him his how ire its jab jag jam jar jaw jet jib jig job jog jot
jug jut keg ken kid kin kit lab lad lag lam lap lat law led leg let lib lid lip lit lob log lop lot
low lug mad man map mar mas mat maw may med meg men mes met mew mid mil min mix mob mod mom mop mos
mow mud mug mum nab nag nap neg net new nib nil nip nit nod non nor nos not now nub nun nut oaf oak
oar oat odd ode off oil old one opt orb ore our out ova owe own pad pal pan pap par pas pat paw pea
peg pen pep per pet pew pie pig pin pip pis pit pod pol pop pot pub pug pun pup pus put rag ram ran
rap rat raw red ref rep rev rib rid rig rim rip rob rod rot row rub rug rum run rut sad sag sap sat
saw say see set sew she sim sin sip sir sis sit six sob sod sol son sop sos sot sow sub sue sum sun
sup tab tad tag tam tan tap tar tat tax tea tee tel ten the tie tin tip tit toe tog tom ton too top
tor tot tow tub tug tun two use van var vat vet vie vim viz vol vow wad wag wan war was wax web wed
wee wen wet who why wig win wit wiz woe wok won woo wot wow you zap zed zen zip zit zoo abed able
abut acid afar aged agog ajar akin alas also alum amen amid amir anal anew anon anus apes area arid
army atom atop aver avid avow away awed awol axis bail bait bake ball balm band bang bank bare bark
barn base bash bask bass bath bead beak beam bean bear beat beef been beep beer beet bell belt bend
bent best bike bill bind bird bite blab blat bled blew blip blob bloc blog blot blow blue blur boar
boas boat boil bold bolt bomb bond bone bong boob book boom boon boos boot bore born bosh boss both
bowl brad brag bran bras brat bred brew brig brim brow bulk bull bump bung bunk bunt burn bury bush
busy cake call calm came camp card care cart case cash cast cave chad chap char chat chef chem chew
chid chin chip chit chop chow chug chum cite city clan clap claw clay clip club clue coal coat code
coin cold come cook cool cope copy cord core corn cost crab crag cram crap craw crew crib crop crow
crud cube cure curl dais dale damp dank dare dark dart dash data date dawn dead deaf deal dean dear
debt deed deem deep deer dent desk dial dice died diet dine ding dink dint dirk dirt dish disk dive
dock does doll dolt dome done doom door dork dose dote doth dour dove down drab drag dram draw drew
drip drop drub drug drum dual duck duel duet duke dull dump dune dung dunk dusk dust duty each earn
ease east easy edge edit egis egos ekes else emir emit emos emus eras even ever eves evil exam exit
face fact fade fail fain fair fake fall fame fang farm fart fast fate fear feat feed feel fees feet
fell felt fend fern file fill film find fine fink fire firm fish five flab flag flak flan flap flat
flaw flea fled flee flew flip flit flog flop flow flub foal foam foil fold folk fond font food fool
foot fore fork form fort foul four frag frat free fret frog from fuel full fume fund funk fuse gain
gait game gang gash gate gave gaze gear geed geek geez gelt gent gift gilt girl girt give glad glee
glen glib glob glop glow glue glum glut goad goal goat goes gold golf gone gong gonk good goof gook
goon goop gore gosh gown grab grad gram gray grep grew grid grim grin grip grit grog grok grow grub
gulf gunk gush half hall hand hang hard harm hate have head heal heap hear heat heel held hell help
ibis ides idol ikon imam jade jail jazz jean jeep jeez jerk jilt join joke jolt josh june junk jury
just keel keen keep kept kick kill kilt kind king kink kite kith knee knot koan lace lack lady laid
lain lair lake lamb lame lamp land lane lank lard lark lash last late lath lead leaf leak lean leap
leas leek leer left lend lens lent less lice lied life lift like lilt limb lime limp line link lint
lion list live load loaf loan lock loft logo loin lone long look loom loon loop loot lord lose loss
lost loth loud lout love luck lump lung lure lurk lush made maid mail maim main make male mall malt
mare mark mart mash mask mass mast mate math maze mead meal mean meat meek meet melt mend menu mere
mesh mild mile milf milk mill mind mine mink mint miss mist moan moat mode mole molt mood moon moor
moos moot more moss most moth move much mule mung murk mush musk must mute nail name nark near neat
neck need nest news next nice nine node none nook noon norm nose nosh note noun nous null oath obey
oboe oink omen once ones only onto opal open opus oral ouch oven over owes pace pack page paid pail
pain pair pale palm pang pant park part pass past path peak peal pear peas peat peed peek peel peep
peer pees pelt pend pent perk pert pest pick pile pill pimp pine ping pink pint pipe pith plan plea
pled plod plop plot plow plug plum plus poem poet pole poll pomp pond pool poop poor pope pore pork
port pose posh post pour pout pram pray prep pres prey prig prim prod prof prom pron prop pros prow
pull pulp pump punk punt pure push quit race rack raft rage raid rail rain rake ramp rang rank rant
rare rash rate read real ream reap rear reed reef reek reel rend rent rest rice rich ride rind ring
rink riot ripe rise risk rite road roam roan roar robe rock rode roil role roll romp rood roof rook
room root rope rose rosy rout ruin rule rump rung runt rush rusk rust safe sage said sail sake sale
salt same sand sane sang sank sash save seal seam sear seas seat seed seek seem seen seep seer self
sell send sent shad shag sham shat shed shes shim shin ship shit shod shoe shop shot show shun shut
sick side sift sigh sign silk silt sing sink site size skew skid skim skin skip skis skit slab slag
slam slap slat slaw sled slew slid slim slip slit slob slog slop slot slow slug slum slur slut smit
smog smug smut snag snap snip snit snob snot snow snub snug soak soap soar sock soda sofa soft soil
sold sole solo some song soon soot sore sort soul soup sour spam span spar spas spat sped spew spin
spit spot spud spun spur stab stag star stat stay stem step stew stir stop stow stub stud stun such
suit sulk sump sung sunk sure swim tail take tale talk tall tame tamp tang tank tape tart task teak
teal team tear teas tech teed teem teen tees tell temp tend tent term test text than that thaw them
then they thin this thud thug thus tide tile till tilt time ting tint tire toad toil told toll tomb
tone tong took tool toot tore torn tort toss tour town tram trap tray tree trek trig trim trio trip
trod tron trot true tube tuna tune turn tush tusk twig twin twit twos unit upon urge used user uses
vain vale vamp vane vase vast veal veep veer veil vein vend vent verb vest vile vine visa void volt
vote wade wage waif wail wait wake walk wall wand wank want ward ware warm warn wart wash wasp wave
weak wean wear weed week weep weer wees well welt wend went were west what when whip whom wide wife
wild will wilt wimp wind wine wing wink wipe wire wise wish with woke wolf womb wont wood woof wool
word wore work worm worn wove yard year zeal zero zing zone zoom zoos abash abort about above adult
again agent aging alone amend among apart armed award awash awing bagel baker basin bates beard
beast beech began being below bench bidet biped birth blade bland blank blast blaze bleat bleed
bleep blend blent bless blimp blind bling blink bloat blond blood bloom blunt blurt blush board
boink bound braid brain brake brand brash brave bread break breed brick bride brief bring brink
brisk broad broil broke brood brook broom broth brown brunt brush brusk build chain chair champ
chant charm chart chase cheat check cheek cheer chess chest child chimp chink choir chomp chose
chump chunk claim class clear climb close cloth cloud coach coast count court cramp crane crank
crash crate creak cream creed creek creep crime crimp crisp crook croon croup crowd crown crude
crush dared dazed dealt death demon depot depth devil diked diner dines divas dives divot doing
doles donor doped dozen dozes draft drain drama drank dread dream dress dried drift drill drink
drive droid drone drool droop drove drown eaves eight elite equal erode event exact faded faith
fares fated fault feast felon fence feral feted fetus fever fewer fezes field fifth fight final
fired fires first flair flame flank flare flash flask flees fleet flesh fling flint flirt float
flock flood floor flour flout fluid flung flunk flush flute focus force forge forth found fount
frail frame frank fraud freak freed frees fresh frisk frond front frost froth fruit frump furor
fuses gages galas gamer gases gazes giant given glade gland glare glass gleam glide glint gloat
globe gloom glove going gored grade grain grand grant grape graph grasp grass grate grave great
greed green greet grief grill grind groan groom gross group grove grown grunt guard guest guide
house human ideal image index jibed jibes joint judge juice juror knelt kopek label labor lamas
lamed lapel large laser later layer leach learn leash least leave leech legal lemon level lifer
light liker limit lined linen lipid lived liver loath local lodge logic login logon loner loose
loped lunar lunch madam major maker march marsh match mayor meant media melon merit metal meter
might miked miner minis minor minus miter mites model moist molar money month mooch moral motor
mound mount mourn mouse mouth movie mural music naked natal naval neath never newer night niter
nites nodal nodes noise north nosed noted novel nukes nurse oaten ocean offer often olive onion
opera orbit order organ other ought ounce outer owing paint paled panel paper party paste patch
pates paved peace pearl pedal phase photo piano piece pilot pitch place plain plait plane plank
plant plate plead pleat plonk plump plunk plush poach point poise poker polar pooch porch pored
pouch pound power prank preen press pride prime primp print prize probe prong proof proud prove
prune puked pupil purer quart quest quick quiet rabid radar radio radon raise ranch range rapid
ratio razes reach ready realm rebel refer reign relax relay remit renew repel reset resin rigid
riled rimes rinse risen rival river roast robed robes robin robot roger rogue roman roost rotor
rough round route rowel royal ruder ruler rumor rural saint salad sales salon saner sauce saver
sawed scale scene score sedan seize sense serum serve seven sewed shade shaft shake shalt shank
shape share shark sharp sheaf shear sheep sheet shelf shell shine shirk shirt shook shoot shore
short shout shunt shush since sinew siren sires skate skeet skill skimp skirt skunk slain slang
slant slash slate sleek sleep sleet slept slice slide sling slink slope slosh sloth slump slung
slunk slush small smart smash smell smelt smile smirk smith smoke snail snake snare snark sneak
sneer snoot snore snort sober solar solid solos solve sooth sound south spank spare spark spear
speed spelt spend spent spilt spine spite split spoil spoke spoof spook spoon spoor sport spout
spunk spurt staff stage staid stain stair stake stale stamp stand stank stare stark start stash
state stead steal steam steel steep steer stent stern stilt sting stink stint stomp stone stood
stool stoop store stork storm story stout stove stump stung stunk stunt style sugar super sweep
sweet sword table taint taken tapes tared taste teach teeth tenon tenor tenth thees theme there
these thief thing think third thong those three threw throw thumb thump thunk tiger tiled timer
timid title toast today token tonal tooth topic torch total touch tough towel tower trade trail
train trait tramp trash tread treas treat trend trial tribe trick tromp troop troth trout truce
truck trump trunk trust truth tubas tuber tulip tumor tunic twain twang tweak tweed tweet twerk
twice twine twink uncle under union unite until upset urban using usual vague valet valid value
vapes vapor vault venal venom venue verse video vigor viola viper viral vised visit vital vivas
vivid vizor vocal vodka voter vouch wafer wagon waist warez waste watch water waves weird wheat
where which while white whole whose widen widow wiper wipes woman women world worse worst would
wound wreck write wrong yield young youth zebra amount baleen basing beaded beater behind beside
biding boding boning braked breach breath breech broach brooch brunet chafed chafes chinos crates
crouch dazing debunk degree delint demand depart desert desire detail device divide domain doming
donate doping doting droves easing editor effort entire famish famous figure finger finish flares
flavor foment forest forget former frames future fuzing garden gender genius glades glamor glares
glazed global glowed golden grater ground growth honest island itself kitten ladder lading lament
leader legend lesson letter lining lizard locate loosen lubing manage manner margin marine market
master matter medium memoir memory method meting metric middle miking minute mirror mobile modern
moment mother motion muscle museum musing mutual native nature nearly needle nobody normal notice
number oaring object obtain office online orange oyster parade parent peeved people period person
piping planet platen player please plenty plowed pluses poetry police policy polish posing potato
prefer pretty primes prince prison prized profit proper pruned public pursue puzzle rabbit raging
raking random raping razing reason record region relent remain repair repeat report resend result
retail return reveal review ribbon rocket rubber sample saving second secret select senior series
settle severe sewing shaken shaker silent silver simple single sister skater smooch smooth snores
social sodium spirit spoken spread spring square stable staled statue status steady stores street
strong studio submit sudden summer supper supply tablet tailor talent taming target temple tenant
tender theses tomato towing travel treaty triple tropes tubing tunnel twelve twenty twined unfair
unique update useful vendor vessel violin vision volume voting vowing wading walnut winter wisdom
wonder wooden worker because herself himself themselves
""".split()
)
