// A player: its slider, its clock and the cursor on its roll are kept where its sound is.
'use strict';
const tip = document.getElementById('tip');

// 83.2 -> 1:23
function clock(seconds) {
  const whole = Math.floor(seconds);
  return Math.floor(whole / 60) + ':' + String(whole % 60).padStart(2, '0');
}

// What there is to say of a note, above it and within the window.
function showTip(note) {
  const box = note.getBoundingClientRect();
  tip.textContent = note.dataset.tip;
  tip.hidden = false;
  note.dispatchEvent(new Event('shown', {bubbles: true}));         // looks.js waits for it
  const left = box.left + box.width / 2 - tip.offsetWidth / 2;
  tip.style.left = Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4)) + 'px';
  tip.style.top = Math.max(4, box.top - tip.offsetHeight - 6) + 'px';
}

function setUp(player) {
  const find = selector => player.querySelector(selector);
  const audio = find('audio'), button = find('.play'), slider = find('input');
  const time = find('.clock'), scroll = find('.scroll'), roll = find('.scroll svg');
  const cursor = find('.cursor'), trouble = find('.trouble'), speed = find('.speed select');
  const band = find('.stretch');
  const pace = Number(player.dataset.pace);      // pixels to a second
  const length = Number(slider.max);             // seconds to the end of the last note
  let shown = 0;                                 // pixels: where the cursor was last
  let walking = -1;                              // the note that the arrows up and down are at
  let byTime = null;                             // all notes in the order of time
  let stretch = null;                            // {start, end} in seconds: played over and over
  let begun = 0;                                 // seconds: where a stretch is to begin
  let pressed = 0;                               // seconds: where the mouse went down
  let drawn = false;                             // whether it has drawn a stretch since

  // without this script, the browser's own controls are there
  audio.controls = false;
  find('.transport').hidden = false;

  // Bring all to where the sound is. Turn the page of the roll when the cursor leaves it;
  // if a reader has scrolled elsewhere, leave it there, but for a jump.
  function show(jumped) {
    if (stretch && !audio.paused && audio.currentTime > stretch.end) {
      audio.currentTime = stretch.start;
    }
    const x = audio.currentTime * pace;
    const inView = at => at >= scroll.scrollLeft && at <= scroll.scrollLeft + scroll.clientWidth;
    if (!inView(x) && (jumped || inView(shown))) {
      scroll.scrollLeft = x - scroll.clientWidth * 0.1;
    }
    shown = x;
    cursor.style.transform = 'translateX(' + x + 'px)';
    slider.value = audio.currentTime;
    const text = clock(Math.min(audio.currentTime, length)) + ' / ' + clock(length);
    if (time.textContent !== text) {
      time.textContent = text;
      slider.setAttribute('aria-valuetext', text);
    }
  }

  function everyFrame() {
    show(false);
    if (!audio.paused) requestAnimationFrame(everyFrame);
  }

  // a failure has an event of its own; to be paused before it has begun is none
  function play() { audio.play().catch(() => {}); }
  function toggle() { audio.paused ? play() : audio.pause(); }

  // A plain web server can't begin in the middle of a file: then have all of it first.
  async function makeSeekable() {
    const canSeek = audio.seekable.length && audio.seekable.end(0) > 0;
    if (canSeek || audio.readyState === 0 || audio.src.startsWith('blob:')) return;
    const answer = await fetch(audio.src);
    const whole = await answer.blob();
    const playing = !audio.paused;
    audio.src = URL.createObjectURL(whole);
    audio.playbackRate = Number(speed.value);
    if (playing) play();
  }

  async function seek(seconds) {
    if (stretch && (seconds < stretch.start || seconds > stretch.end)) endRepeat();
    await makeSeekable();
    audio.currentTime = Math.max(0, Math.min(seconds, length));
    show(true);
  }

  function repeat(start, end) {
    stretch = {start: Math.max(0, start), end: Math.min(end, length)};
    band.hidden = false;
    band.style.left = stretch.start * pace + 'px';
    band.style.width = (stretch.end - stretch.start) * pace + 'px';
  }

  function endRepeat() {
    stretch = null;
    band.hidden = true;
  }

  // To the next note (by = 1) or the one before (by = -1), and say what it is.
  async function walk(by) {
    const startOf = note => note.x.baseVal.value;
    byTime ??= [...roll.querySelectorAll('[data-tip]')].sort((a, b) => startOf(a) - startOf(b));
    if (!byTime.length) return;
    if (byTime[walking]) byTime[walking].classList.remove('chosen');
    walking = Math.max(0, Math.min(walking + by, byTime.length - 1));
    byTime[walking].classList.add('chosen');
    await seek(startOf(byTime[walking]) / pace);
    showTip(byTime[walking]);
  }

  show(false);
  audio.addEventListener('timeupdate', () => show(false));         // frames rest in the background
  audio.addEventListener('play', () => {
    player.classList.add('playing');
    button.setAttribute('aria-label', button.dataset.pause);
    everyFrame();
  });
  audio.addEventListener('pause', () => {
    player.classList.remove('playing');
    button.setAttribute('aria-label', button.dataset.play);
  });
  audio.addEventListener('error', () => { trouble.hidden = false; });
  trouble.hidden = !audio.error;                 // it may have failed before this script ran
  button.addEventListener('click', toggle);
  speed.addEventListener('change', () => { audio.playbackRate = Number(speed.value); });
  slider.addEventListener('input', () => seek(Number(slider.value)));
  const secondsAt = event => (event.clientX - roll.getBoundingClientRect().left) / pace;
  roll.addEventListener('pointerdown', event => {
    drawn = false;
    if (event.pointerType === 'touch' || event.button !== 0) return;         // a finger scrolls
    pressed = secondsAt(event);
    roll.setPointerCapture(event.pointerId);     // until it goes up, be it elsewhere
  });
  roll.addEventListener('pointermove', event => {
    if (!roll.hasPointerCapture(event.pointerId)) return;
    const ends = [pressed, secondsAt(event)].sort((a, b) => a - b);
    drawn = (ends[1] - ends[0]) * pace > 8;      // or a hand trembles
    if (drawn) repeat(...ends); else endRepeat();
  });
  roll.addEventListener('click', event => {
    if (!drawn) endRepeat();
    seek(drawn ? stretch.start : secondsAt(event)).then(play);
  });
  const passage = player.parentElement.querySelector('.passage button');
  if (passage) {
    passage.addEventListener('click', () => {
      repeat(Number(passage.dataset.start), Number(passage.dataset.end));
      seek(stretch.start).then(play);
    });
  }
  roll.addEventListener('pointerover', event => {
    if (event.target.dataset.tip) showTip(event.target);
  });
  roll.addEventListener('pointerout', event => {
    if (event.pointerType !== 'touch') tip.hidden = true;         // a finger is gone at once
  });
  scroll.addEventListener('blur', () => { tip.hidden = true; });
  document.addEventListener('keydown', event => {
    if (event.key === 'Escape') endRepeat();
  });
  player.addEventListener('keydown', event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;      // the browser's own
    if (event.target === speed) return;                              // a menu has its own keys
    const onRoll = event.target === scroll;
    if (event.key === ' ' && event.target !== button) toggle();      // a button has it already
    else if (event.key === 'ArrowLeft') seek(audio.currentTime - 2);
    else if (event.key === 'ArrowRight') seek(audio.currentTime + 2);
    else if (event.key === 'a') begun = audio.currentTime;
    else if (event.key === 'b' && audio.currentTime > begun) repeat(begun, audio.currentTime);
    else if (event.key === 'Home') seek(0);
    else if (event.key === 'End') seek(length);
    else if (event.key === 'ArrowDown' && onRoll) walk(1);
    else if (event.key === 'ArrowUp' && onRoll) walk(-1);
    else return;
    event.preventDefault();
  });
}

document.addEventListener('pointerdown', () => { tip.hidden = true; });
document.addEventListener('play', event => {               // (this event doesn't rise: so captured)
  for (const other of document.querySelectorAll('audio')) {
    if (other !== event.target) other.pause();
  }
}, true);
document.querySelectorAll('.player').forEach(setUp);
