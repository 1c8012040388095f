// Arcs on a roll, from a note to those at which the model looked when it wrote it: the thicker the
// more. And what else it might have written. Shown while the part of the page is open.
function setUpLooks(part) {
  const player = part.parentElement.querySelector('.player');
  const roll = player.querySelector('.scroll svg'), audio = player.querySelector('audio');
  const head = part.querySelector('select'), said = part.querySelector('.said');
  const looks = JSON.parse(part.querySelector('script').textContent);
  const notes = [...roll.querySelectorAll('[data-note]')];
  const noteAt = new Map(notes.map(note => [Number(note.dataset.note), note]));
  const startOf = note => note.x.baseVal.value;
  const byTime = notes.sort((a, b) => startOf(a) - startOf(b));
  const arcs = document.createElementNS(roll.namespaceURI, 'g');
  let shown = null;                              // the note whose arcs are drawn
  arcs.classList.add('arcs');
  roll.append(arcs);

  // [[note, share], ...] of the chosen head, or the mean over all
  function sharesOf(look) {
    if (head.value !== '') return look.heads[Number(head.value)];
    const sums = new Map();
    for (const one of look.heads) {
      for (const [note, share] of one) {
        sums.set(note, (sums.get(note) || 0) + share / look.heads.length);
      }
    }
    return [...sums].sort((a, b) => b[1] - a[1]).slice(0, 8);
  }

  function draw(note) {
    if (!part.open || !note) return;
    if (shown) shown.classList.remove('looking');
    shown = note;
    shown.classList.add('looking');
    const look = looks[Number(note.dataset.note)];
    const middle = box => [box.x.baseVal.value + 2, box.y.baseVal.value + 2];
    const [x, y] = middle(note);
    const names = [];
    arcs.replaceChildren();
    for (const [number, share] of sharesOf(look)) {
      const other = noteAt.get(number);
      if (!other || share < 0.01) continue;
      const [toX, toY] = middle(other);
      const arc = document.createElementNS(roll.namespaceURI, 'path');
      const top = Math.min(y, toY) - 12 - (x - toX) / 12;
      arc.setAttribute('d', `M${x} ${y}Q${(x + toX) / 2} ${Math.max(2, top)} ${toX} ${toY}`);
      arc.style.strokeWidth = 0.5 + 10 * share;
      arc.dataset.share = share;
      arcs.append(arc);
      names.push(other.dataset.tip.split(' · ').slice(0, 2).join(', ') + ' ' + percent(share));
    }
    const likeliest = look.likeliest.map(([word, p]) => word + ' ' + percent(p));
    said.textContent = note.dataset.tip + '. It looked at: ' + (names.join('; ') || 'no note') +
      '. Likeliest were: ' + likeliest.join(', ') +
      '. Recalled: ' + (look.recalled.join(', ') || 'nothing') + '.';
  }

  const percent = share => Math.round(100 * share) + ' %';
  roll.addEventListener('shown', event => draw(event.target));             // by pointer or arrows
  head.addEventListener('change', () => draw(shown));
  audio.addEventListener('timeupdate', () => {
    if (audio.paused) return;
    const x = audio.currentTime * Number(player.dataset.pace);
    draw(byTime.filter(note => startOf(note) <= x + 1).at(-1));
  });
  part.addEventListener('toggle', () => part.open ? draw(shown) : arcs.replaceChildren());
}
document.querySelectorAll('.looks').forEach(setUpLooks);
