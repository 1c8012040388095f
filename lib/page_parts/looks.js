// What a model looked at when it wrote a note, or a token of a text: arcs on the roll, shades on the
// text, the stronger the more; and what else it might have written. Shown while the switch is open.
const percent = share => Math.round(100 * share) + ' %';

function setUpLooks(part) {
  const section = part.parentElement, player = section.querySelector('.player');
  const head = part.querySelector('select'), said = part.querySelector('.said');
  const looks = JSON.parse(part.querySelector('script').textContent);
  const canvas = player ? player.querySelector('.scroll svg') : section.querySelector('blockquote');
  const units = [...canvas.querySelectorAll('[data-unit]')];
  const unitAt = new Map(units.map(unit => [Number(unit.dataset.unit), unit]));
  const nameOf = unit => player ? unit.dataset.tip.split(' · ').slice(0, 2).join(', ') :
    JSON.stringify(unit.textContent);
  const show = player ? drawArcs(canvas) : shade;
  let shown = null;                              // the note or token that is looked from

  // [[unit, share], ...] of the chosen head, or the mean over all
  function sharesOf(look) {
    if (head.value !== '') return look.heads[Number(head.value)];
    const sums = new Map();
    for (const one of look.heads) {
      for (const [unit, share] of one) {
        sums.set(unit, (sums.get(unit) || 0) + share / look.heads.length);
      }
    }
    return [...sums].sort((a, b) => b[1] - a[1]).slice(0, 8);
  }

  function lookFrom(unit) {
    if (!part.open || !unit) return;
    if (shown) shown.classList.remove('looking');
    shown = unit;
    shown.classList.add('looking');
    const look = looks[Number(unit.dataset.unit)];
    const seen = sharesOf(look).filter(([other, share]) => share >= 0.01 && unitAt.has(other))
      .map(([other, share]) => [unitAt.get(other), share]);
    show(unit, seen);
    const names = seen.map(([other, share]) => nameOf(other) + ' ' + percent(share));
    const likeliest = look.likeliest.map(([word, p]) => word + ' ' + percent(p));
    said.textContent = nameOf(unit) + ' looked at: ' + (names.join('; ') || 'none of these') +
      '. Likeliest were: ' + likeliest.join(', ') +
      '. Recalled: ' + (look.recalled.join(', ') || 'nothing') + '.';
  }

  head.addEventListener('change', () => lookFrom(shown));
  part.addEventListener('toggle', () => {
    if (part.open) lookFrom(shown); else if (shown) show(shown, []);
  });
  if (player) {
    const audio = player.querySelector('audio'), startOf = note => note.x.baseVal.value;
    const byTime = units.sort((a, b) => startOf(a) - startOf(b));
    canvas.addEventListener('shown', event => lookFrom(event.target));     // by pointer or arrows
    audio.addEventListener('timeupdate', () => {
      if (audio.paused) return;
      const x = audio.currentTime * Number(player.dataset.pace);
      lookFrom(byTime.filter(note => startOf(note) <= x + 1).at(-1));
    });
  } else {
    for (const kind of ['pointerover', 'click']) {
      canvas.addEventListener(kind, event => lookFrom(event.target.closest('[data-unit]')));
    }
    canvas.addEventListener('keydown', event => {
      const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
      const at = shown ? Number(shown.dataset.unit) + by : 0;
      lookFrom(unitAt.get(Math.max(0, Math.min(at, units.length - 1))));
      event.preventDefault();
    });
  }

  function shade(unit, seen) {
    for (const other of units) other.style.background = '';
    for (const [other, share] of seen) {
      const strength = Math.min(100, 10 + 100 * share);
      other.style.background = `color-mix(in srgb, var(--focus) ${strength}%, transparent)`;
    }
  }
}

// A function that draws arcs from a note to others on a roll.
function drawArcs(roll) {
  const arcs = document.createElementNS(roll.namespaceURI, 'g');
  arcs.classList.add('arcs');
  roll.append(arcs);
  const corner = note => [note.x.baseVal.value + 2, note.y.baseVal.value + 2];
  return (note, seen) => {
    const [x, y] = corner(note);
    arcs.replaceChildren();
    for (const [other, share] of seen) {
      const [toX, toY] = corner(other);
      const top = Math.max(2, Math.min(y, toY) - 12 - (x - toX) / 12);
      const arc = document.createElementNS(roll.namespaceURI, 'path');
      arc.setAttribute('d', `M${x} ${y}Q${(x + toX) / 2} ${top} ${toX} ${toY}`);
      arc.style.strokeWidth = 0.5 + 10 * share;
      arcs.append(arc);
    }
  };
}
document.querySelectorAll('.looks').forEach(setUpLooks);
