"""Pairs of stories, first half; data only. What is recorded is named first in five of ten."""

from deeploc.generators.story import Story, StoryPair

FIRST_HALF = (
    StoryPair(
        named=("fridge", "oven"),
        recorded="fridge",
        belief=Story(
            "The cook put the lemon cake in the fridge and went out to buy candles. While she "
            "was at the shop, her son moved the cake to the oven to hide it from the guests. She "
            "is still on her way home and has heard nothing about it.",
            "Where does the cook think that the cake is?",
        ),
        photograph=Story(
            "The photo of the lemon cake in the fridge was taken for a cookery book. When the "
            "camera was packed away, a boy moved the cake to the oven to hide it from the "
            "guests. The photo is already at the printer and stays just as it is.",
            "Where does the photo show that the cake is?",
        ),
    ),
    StoryPair(
        named=("pier", "beach"),
        recorded="pier",
        belief=Story(
            "Before dinner the fisherman tied his rowing boat to the pier and walked up to the "
            "village. During the meal a storm tore the boat loose and the waves carried it to "
            "the beach. He is still sitting by the fire and has not once looked outside.",
            "Where does the fisherman think that the boat is?",
        ),
        photograph=Story(
            "One clear evening a camera on a pole took a picture of a rowing boat at the pier. "
            "During the night a storm tore the boat loose and the waves carried it to the beach. "
            "The picture hangs framed in the office and no newer one was made.",
            "Where does the picture show that the boat is?",
        ),
    ),
    StoryPair(
        named=("red", "green"),
        recorded="red",
        belief=Story(
            "When the postman came last month, the door of the corner house was painted red. "
            "Over the weekend the owners sanded it down and gave it two coats of green. The "
            "postman has been ill in bed and has not walked along that street again.",
            "What colour does the postman think that the door is?",
        ),
        photograph=Story(
            "When the postcard was printed last year, the door of the corner house was painted "
            "red. Over the winter the owners sanded it down and gave it two coats of green. The "
            "postcard is still for sale and has not been printed anew since then.",
            "What colour does the postcard show that the door is?",
        ),
    ),
    StoryPair(
        named=("second", "fourth"),
        recorded="second",
        belief=Story(
            "The patient was told by a friend in March that the dentist works on the second "
            "floor. In May the dentist wanted more light and moved everything up to the fourth. "
            "The patient was abroad the whole summer and received no letter about it.",
            "On which floor does the patient think that the dentist works?",
        ),
        photograph=Story(
            "The sign was painted in March and says that the dentist works on the second floor. "
            "In May the dentist wanted more light and moved everything up to the fourth. The "
            "sign hung in the entrance the whole summer and received no new paint.",
            "On which floor does the sign say that the dentist works?",
        ),
    ),
    StoryPair(
        named=("Monday", "Friday"),
        recorded="Monday",
        belief=Story(
            "A farmer was told at the station that the cheese market takes place on Monday. Two "
            "days later the mayor and the traders moved it to Friday because of a wedding. The "
            "farmer had already gone back to his cows in the hills and stayed there.",
            "On which day does the farmer think that the market takes place?",
        ),
        photograph=Story(
            "A poster at the station says in large letters that the cheese market takes place on "
            "Monday. Two days later the mayor and the traders moved it to Friday because of a "
            "wedding. The poster had already been glued to the wall and stayed there.",
            "On which day does the poster say that the market takes place?",
        ),
    ),
    StoryPair(
        named=("kitchen", "hall"),
        recorded="hall",
        belief=Story(
            "The car keys are in the kitchen, where the father dropped them an hour ago. At "
            "breakfast they were still in the hall, and the mother saw them lying there. She has "
            "been out in the garden since then and has not met the father.",
            "Where does the mother think that the keys are?",
        ),
        photograph=Story(
            "The car keys are in the kitchen, where the father dropped them an hour ago. At "
            "breakfast they were still in the hall, and a note was written that says so. It has "
            "been stuck to the mirror since then and has not been corrected.",
            "Where does the note say that the keys are?",
        ),
    ),
    StoryPair(
        named=("blonde", "black"),
        recorded="black",
        belief=Story(
            "The singer has had blonde hair since she went to a new barber on Tuesday. Her hair "
            "was black when she waved goodbye to her uncle at the airport. The uncle has been at "
            "sea without a telephone and nobody has sent him a letter.",
            "What colour does the uncle think that her hair is?",
        ),
        photograph=Story(
            "The singer has had blonde hair since she went to a new barber on Tuesday. Her hair "
            "was black when the picture in her passport was taken last autumn. The passport has "
            "been in a drawer with her papers and nobody has changed the picture.",
            "What colour does the passport show that her hair is?",
        ),
    ),
    StoryPair(
        named=("church", "bakery"),
        recorded="bakery",
        belief=Story(
            "The school bus stops at the church now, because a street was closed on Sunday. "
            "Until Saturday it stopped at the bakery, and a new pupil was told to wait there. He "
            "was in bed with a cold when the stop was moved.",
            "Where does the pupil think that the bus stops?",
        ),
        photograph=Story(
            "The school bus stops at the church now, because a street was closed on Sunday. "
            "Until Saturday it stopped at the bakery, and a new timetable was printed to say so. "
            "It was already up on the wall when the stop was moved.",
            "Where does the timetable say that the bus stops?",
        ),
    ),
    StoryPair(
        named=("shoes", "books"),
        recorded="books",
        belief=Story(
            "The shop beside the bank sells shoes, as it has done since the new owner came. For "
            "years before that it sold books, and the professor went there every month. He moved "
            "to the coast before the shop was sold and has not come back.",
            "What does the professor think that the shop sells?",
        ),
        photograph=Story(
            "The shop beside the bank sells shoes, as it has done since the new owner came. For "
            "years before that it sold books, and the town map says so in print. It was drawn "
            "two years before the shop was sold and has not been redrawn.",
            "What does the map say that the shop sells?",
        ),
    ),
    StoryPair(
        named=("nine", "six"),
        recorded="six",
        belief=Story(
            "A ticket for the museum costs nine coins, as the director decided late last night. "
            "Until then it cost six, and a teacher was told this price on the telephone. She is "
            "on the train with her class and has not been called again.",
            "How many coins does the teacher think that a ticket costs?",
        ),
        photograph=Story(
            "A ticket for the museum costs nine coins, as the director decided late last night. "
            "Until then it cost six, and a board at the gate was painted with this price. It is "
            "half hidden behind a tree and has not been painted again.",
            "How many coins does the board say that a ticket costs?",
        ),
    ),
)
