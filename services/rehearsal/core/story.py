"""A long story, so that there is time to interrupt it."""

STORY = """
Gladly. Settle down, for this one takes a while. On the far side of a quiet bay there stood a lighthouse, and in the \
lighthouse lived an old keeper named Maren. Every evening she climbed the ninety nine steps, lit the lamp, and \
listened to the sea.

One autumn night the wind fell asleep. There was no wave, no gull, no sound at all. Maren had never heard such a \
silence, and she found that she rather liked it. So she took an empty jar from the shelf, held it out of the window, \
and caught a little of the silence to keep.

In the morning the baker's boy rowed over with the bread. He could hardly speak, so worn out was he, because the \
mill beside his house had clattered all night. Maren thought for a moment. Then she gave him the jar. Open it just a \
finger's width, she told him, and only when you are tired.

The boy slept until noon, and he slept so well that he told everyone. Soon boats came from every village around the \
bay. There was a mother whose twins took turns at crying, and a smith whose ears rang like his anvil. There was a \
teacher who had not heard her own thoughts since the spring.

Maren gave each of them a jar. And each evening, when the sea grew still, she filled the empty ones again. She never \
asked for money. But in the mornings there was honey on her doorstep, and warm bread, and once a small brown dog.

Years went by, and the bay became known as the gentlest place on the coast. People there had learned to speak one \
after the other, and to wait for an answer. When strangers asked what was in all those jars on the window sills, the \
children smiled. Nothing at all, they said. That is what makes it so valuable.

And on the stillest nights, if you row out far enough, you can see the lamp turning slowly, and beside it an old \
woman and a brown dog, holding an empty jar out into the dark. That is the end of my story.
"""


def story_text() -> str:
    """The story as one line; about two minutes of speech."""
    return " ".join(STORY.split())
