// "Bach or machine?" The answers are in the page, but not to be read by chance: as base64.
const key = JSON.parse(atob(document.getElementById('key').textContent));
const score = document.getElementById('score');
let right = 0, answered = 0;

document.querySelectorAll('section').forEach((section, number) => {
  const pair = key.pairs[number];
  const choices = section.querySelectorAll('.choice');
  for (const choice of choices) choice.addEventListener('click', () => {
    const isRight = choice.value === pair.bach;
    for (const other of choices) other.disabled = true;
    choice.classList.add('chosen');
    section.querySelector('.answer').textContent = (isRight ? 'Right. ' : 'No. ') +
      'A: ' + pair.a + '. B: ' + pair.b + '.';
    right += isRight;
    answered += 1;
    score.textContent = right + ' of ' + answered + ' right';
    if (answered === key.pairs.length) {
      const verdict = document.getElementById('verdict');
      verdict.textContent = right + ' of ' + answered + '. ' + key.verdicts[right];
      verdict.hidden = false;
    }
  });
});
