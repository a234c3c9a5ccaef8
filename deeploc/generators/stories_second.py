"""Pairs of stories, second half; data only. What is recorded is named first in five of ten."""

from deeploc.generators.story import Story, StoryPair

SECOND_HALF = (
    StoryPair(
        named=("seven", "three"),
        recorded="seven",
        belief=Story(
            "In the morning the old gardener counted seven ducks on the pond behind the mill. At "
            "noon most of them flew off to the river, so that only three were left. The gardener "
            "was asleep in his shed all day and did not hear the wings.",
            "How many ducks does the gardener think that there are?",
        ),
        photograph=Story(
            "In the morning an expensive camera took a picture of seven ducks on the pond. At "
            "noon most of them flew off to the river, so that only three were left. The picture "
            "was put into a frame the same day and hung above the piano.",
            "How many ducks does the picture show that there are?",
        ),
    ),
    StoryPair(
        named=("sofa", "cupboard"),
        recorded="sofa",
        belief=Story(
            "A girl left her kitten asleep on the sofa and ran down to fetch the mail. As soon "
            "as the room was empty, it woke up and crept into the cupboard. The girl is talking "
            "with a neighbour on the stairs and has not come back.",
            "Where does the girl think that the kitten is?",
        ),
        photograph=Story(
            "A drawing was made of the kitten asleep on the sofa in the morning sun. As soon as "
            "the drawing was finished, it woke up and crept into the cupboard. The drawing is "
            "lying on the desk beside an empty cup and has not been changed.",
            "Where does the drawing show that the kitten is?",
        ),
    ),
    StoryPair(
        named=("sugar", "salt"),
        recorded="sugar",
        belief=Story(
            "A widow filled the old blue tin with sugar in June and put it on the shelf. In July "
            "her nephew emptied it for his birthday cake and filled it with salt. The widow was "
            "with her sister in the mountains and has not opened it.",
            "What does the widow think that the tin contains?",
        ),
        photograph=Story(
            "A label that says sugar was glued to the old blue tin in June. In July a baker "
            "emptied the tin for a large birthday cake and filled it with salt. The label was "
            "still clean and easy to read and has not been replaced.",
            "What does the label say that the tin contains?",
        ),
    ),
    StoryPair(
        named=("bridge", "ferry"),
        recorded="bridge",
        belief=Story(
            "The driver learned years ago that people cross the lake here by bridge. Last winter "
            "the ice broke its pillars, and since then everyone has crossed by ferry. The driver "
            "has been working in another country for years and has had no news from here.",
            "How does the driver think that people cross the lake?",
        ),
        photograph=Story(
            "The map was printed years ago and says that people cross the lake here by bridge. "
            "Last winter the ice broke its pillars, and since then everyone has crossed by "
            "ferry. The map has been in a drawer for years and has had no corrections.",
            "How does the map say that people cross the lake?",
        ),
    ),
    StoryPair(
        named=("square", "park"),
        recorded="square",
        belief=Story(
            "On her last visit the aunt saw the bronze horse that stood in the square. A month "
            "later workers lifted it onto a truck and set it up in the park. The aunt lives far "
            "away by the sea and nobody has written to her.",
            "Where does the aunt think that the horse stands?",
        ),
        photograph=Story(
            "The guidebook has on its first page a photo of the bronze horse in the square. A "
            "month later workers lifted it onto a truck and set it up in the park. The guidebook "
            "is for sale in every shop and nobody has corrected it.",
            "Where does the guidebook show that the horse stands?",
        ),
    ),
    StoryPair(
        named=("garage", "attic"),
        recorded="attic",
        belief=Story(
            "The wooden sledge is in the garage, since the boys carried it down at noon. All "
            "summer it had been in the attic, where the grandfather had stored it himself. He "
            "was taking a nap when they came and did not hear their steps.",
            "Where does the grandfather think that the sledge is?",
        ),
        photograph=Story(
            "The wooden sledge is in the garage, since the boys carried it down at noon. All "
            "summer it had been in the attic, and the list of stored things says so. It was "
            "lying in a folder when they came and did not get corrected.",
            "Where does the list say that the sledge is?",
        ),
    ),
    StoryPair(
        named=("Marta", "Julia"),
        recorded="Julia",
        belief=Story(
            "The team is led by Marta now, because the old captain hurt her knee on Thursday. "
            "Before that it was led by Julia, and a reporter had met her for an interview. He "
            "has been writing in his cabin since then and has seen no news.",
            "Who does the reporter think that the team is led by?",
        ),
        photograph=Story(
            "The team is led by Marta now, because the old captain hurt her knee on Thursday. "
            "Before that it was led by Julia, and a magazine had printed this on its cover. It "
            "has been lying in the shops since then and has had no update.",
            "Who does the magazine say that the team is led by?",
        ),
    ),
    StoryPair(
        named=("meadow", "stable"),
        recorded="stable",
        belief=Story(
            "The brown horse is in the meadow, because someone left the gate open after lunch. "
            "In the morning it was in the stable, where the groom brushed it for an hour. The "
            "groom has gone to town for nails and has not come back yet.",
            "Where does the groom think that the horse is?",
        ),
        photograph=Story(
            "The brown horse is in the meadow, because someone left the gate open after lunch. "
            "In the morning it was in the stable, where a picture was taken for a calendar. The "
            "picture has gone to town for printing and has not come back yet.",
            "Where does the picture show that the horse is?",
        ),
    ),
    StoryPair(
        named=("yellow", "blue"),
        recorded="blue",
        belief=Story(
            "The flag on the tower is yellow this week, because the duke has his birthday. For a "
            "year before that it was blue, and a shepherd saw it every evening. Since Monday he "
            "has been behind the mountain, from where nobody can see the tower.",
            "What colour does the shepherd think that the flag is?",
        ),
        photograph=Story(
            "The flag on the tower is yellow this week, because the duke has his birthday. For a "
            "year before that it was blue, and a painting of it was finished. Since Monday it "
            "has been in the museum, behind thick glass that nobody can remove.",
            "What colour does the painting show that the flag is?",
        ),
    ),
    StoryPair(
        named=("soup", "fish"),
        recorded="fish",
        belief=Story(
            "The inn serves soup tonight, because there was nothing better to buy at the market. "
            "In the morning there was still going to be fish, and the cook told a guest so. She "
            "has been walking in the woods all day and has met nobody.",
            "What does the guest think that the inn serves tonight?",
        ),
        photograph=Story(
            "The inn serves soup tonight, because there was nothing better to buy at the market. "
            "In the morning there was still going to be fish, and the menu was printed to say "
            "so. It has been hanging outside all day and was changed by nobody.",
            "What does the menu say that the inn serves tonight?",
        ),
    ),
)
