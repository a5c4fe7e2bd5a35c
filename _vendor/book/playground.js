/* Distil it yourself: ridge regression in the plane and its distilled points, live.

   A classic script without a library, so that it runs from a disk. Rows are samples, as everywhere in the book:
   X (n, 2), features Phi (n, p), targets Y (n, k), model W (p, k). The functions of the first half have the names
   of those of the package (fit of krr, labels, features, carrier of distill, verify of measure); a test compares
   them on 1,000 random problems. */
(() => {
  "use strict";
  const EPS = 2 ** -52;

  // ---------------------------------------------------------------- matrices, as arrays of rows

  const turned = A => A[0].map((_, j) => A.map(row => row[j]));
  const times = (A, B) => A.map(row => B[0].map((_, j) => row.reduce((sum, v, i) => sum + v * B[i][j], 0)));
  const plus = (A, B, c = 1) => A.map((row, i) => row.map((v, j) => v + c * B[i][j]));
  const columnsTimes = (A, d) => A.map(row => row.map((v, j) => v * d[j]));
  const norm = A => Math.hypot(...A.flat());
  const identity = k => Array.from({length: k}, (_, i) => Array.from({length: k}, (_, j) => +(i === j)));
  const zeros = (m, n) => Array.from({length: m}, () => Array(n).fill(0));
  const relativeError = (A, B) => norm(plus(A, B, -1)) / (norm(B) || 1);

  /** A = U diag(s) V^T without singular values up to rtol times the largest; by one-sided Jacobi rotations. */
  function svd(A, rtol = Math.max(A.length, A[0].length) * EPS) {
    if (A.length < A[0].length) {
      const {U, V, ...rest} = svd(turned(A), rtol);
      return {...rest, U: V, V: U};
    }
    const columns = turned(A), p = columns.length, V = identity(p); // rows of V: right singular vectors
    let moved = true;
    for (let sweep = 0; moved && sweep < 40; sweep++) {
      moved = false;
      for (let i = 0; i < p; i++) for (let j = i + 1; j < p; j++) {
        const [a, b] = [columns[i], columns[j]], dot = a.reduce((sum, v, n) => sum + v * b[n], 0);
        const [aa, bb] = [Math.hypot(...a), Math.hypot(...b)];
        if (Math.abs(dot) <= EPS * aa * bb) continue;
        moved = true;
        const zeta = (bb - aa) * (bb + aa) / (2 * dot);
        const tan = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cos = 1 / Math.hypot(1, tan), sin = cos * tan;
        for (const rows of [columns, V]) {
          const [x, y] = [rows[i], rows[j]];
          rows[i] = x.map((v, n) => cos * v - sin * y[n]);
          rows[j] = x.map((v, n) => sin * v + cos * y[n]);
        }
      }
    }
    const sizes = columns.map(column => Math.hypot(...column));
    const order = sizes.map((_, i) => i).sort((i, j) => sizes[j] - sizes[i]);
    const kept = order.filter(i => sizes[i] > rtol * sizes[order[0]]), s = kept.map(i => sizes[i]);
    const asColumns = (rows, length) => rows.length ? turned(rows) : Array.from({length}, () => []);
    return {
      s, rtol, next: sizes[order[kept.length]] ?? 0,
      U: asColumns(kept.map((i, n) => columns[i].map(v => v / s[n])), A.length),
      V: asColumns(kept.map(i => V[i]), p),
    };
  }
  /** `svd` with the cutoff for fitted models. */
  const modelSvd = (W, least = 1e-10) => svd(W, Math.max(least, Math.max(W.length, W[0].length) * EPS));
  const rank = W => modelSvd(W).s.length;

  /** The regularised pseudo-inverse (p, m), times Y: what training on rows with this SVD makes of labels Y. */
  function solve({U, s, V}, Y, lam = 0) {
    if (!s.length) return zeros(V.length, Y[0].length);
    return times(columnsTimes(V, s.map(t => 1 / (t + lam / t))), times(turned(U), Y));
  }
  const pinv = A => solve(svd(A), identity(A.length));

  // ---------------------------------------------------------------- the book

  /** The model (p, k) of ridge regression; at lam = 0 the least-squares one of least norm. */
  const fit = (Phi, Y, lam) => solve(lam > 0 ? svd(Phi, 0) : svd(Phi), Y, lam);

  /** Labels for given features (Theorem thm-characterisation); exact where the rows of Phi span W. */
  function labels(Phi, W, lamS) {
    const {U, s, V} = svd(Phi);
    if (!s.length) return zeros(Phi.length, W[0].length);
    const inverse = times(columnsTimes(U, s.map(t => lamS / t)), times(turned(V), W));
    return plus(times(Phi, W), inverse);
  }
  /** D with D Y = W, nearest to Z (default 0). */
  function carrier(W, Y, Z) {
    const Yp = solve(modelSvd(Y), identity(Y.length));
    let D = Z ? plus(Z, times(times(Z, Y), Yp), -1) : times(W, Yp);
    for (let i = 0; i < 3; i++) D = plus(D, times(plus(W, times(D, Y), -1), Yp)); // takes away what rounding left
    return D;
  }
  function largestLam(W, Y, Z) {
    const {s} = modelSvd(carrier(W, Y, Z));
    return s.length ? (0.5 / s[0]) ** 2 : Infinity;
  }
  /** Features for given labels (Theorem thm-given-labels); null above the bound, and for a - at lamS = 0. */
  function features(W, Y, lamS, {Z, signs} = {}) {
    const {U, s, V} = modelSvd(carrier(W, Y, Z));
    const roots = s.map((v, i) => {
      const a = 2 * Math.sqrt(lamS) * v; // real for a <= 1
      if (a > 1 + 64 * EPS || (lamS === 0 && signs?.[i] === -1)) return NaN;
      const t = (1 + Math.sqrt(Math.max(0, (1 - a) * (1 + a)))) / (2 * v);
      return signs?.[i] === -1 ? lamS / t : t;
    });
    if (roots.some(Number.isNaN)) return null;
    return s.length ? times(columnsTimes(V, roots), turned(U)) : zeros(Y.length, W.length);
  }
  /** Training on the set as it is, compared with W; the rule of the book for "exact" (eq-certificate). */
  function verify(Phi, Y, lamS, W) {
    const thin = svd(Phi), {s} = thin, condition = s.length ? s[0] / s.at(-1) : 1;
    const error = relativeError(fit(Phi, Y, lamS), W), allowed = 50 * condition * EPS;
    const tolerance = Math.min(allowed, EPS ** (1 / 3)), uncertain = rounding(thin, Y, lamS) / (norm(W) || 1);
    return {error, condition, tolerance, exact: error + uncertain <= tolerance && allowed <= 1e-2};
  }
  /** How far the last bits of a set move the model that it trains (ThinSVD.rounding). */
  function rounding({U, s, V, next, rtol}, Y, lam) {
    const r = s.length, least = s[r - 1], full = r === Math.min(U.length, V.length);
    if (!r) return 0;
    if (!lam && (least / s[0] <= rtol + EPS || next / s[0] >= Math.max(rtol - EPS, rtol / 2))) return Infinity;
    const damped = s.map(t => t + lam / t), unknown = Math.min(rtol * s[0], Math.sqrt(lam));
    const gain = Math.max(...damped.map(t => 1 / t), unknown && !full ? 1 / (unknown + lam / unknown) : 0);
    const UtY = times(turned(U), Y), W = UtY.map((row, i) => row.map(v => v / damped[i]));
    const floor = Math.hypot(lam && r < V.length ? 0 : least, Math.sqrt(lam));
    let inside = norm(W.map((row, i) => row.map(v => v / s[i])));
    if (r === V.length) inside *= lam / floor ** 2;
    const perFeature = gain * norm(W) + inside + norm(plus(Y, times(U, UtY), -1)) / floor ** 2;
    return EPS * (norm(Y) * gain + s[0] * perFeature);
  }
  /** W C: the mean column subtracted. All decisions are those of W. */
  const centre = W => W.map(row => row.map(v => v - row.reduce((a, b) => a + b, 0) / row.length));
  /** How close any m points can come to W, relative to its norm (Corollary cor-shortfall). */
  function shortfall(W, m) {
    const {s} = modelSvd(W);
    return Math.hypot(...s.slice(m)) / (Math.hypot(...s) || 1);
  }

  const featuresOf = (X, constant) => constant ? X.map(x => [...x, 1]) : X.map(x => [...x]);
  /** Where m < p points x have features in the span of the leading m singular vectors of W: the only places from
      which they train the best model of rank m. A line {at + v along}, one place {at}, or null for none. */
  function places(W, m, constant) {
    const columns = turned(modelSvd(W, 0).U).slice(0, m);
    if (!constant) return {at: [0, 0], along: columns[0]};
    if (columns.length === 1) {
      const [a, b, c] = columns[0];
      return Math.abs(c) < 1e-9 ? null : {at: [a / c, b / c]};
    }
    const [[a, b, c], [d, e, f]] = columns, n = [b * f - c * e, c * d - a * f, a * e - b * d];
    const size = n[0] ** 2 + n[1] ** 2;
    return size < 1e-18 ? null : {at: [-n[2] * n[0] / size, -n[2] * n[1] / size],
                                  along: [-n[1] / Math.sqrt(size), n[0] / Math.sqrt(size)]};
  }
  function nearestPlace([x, y], {at, along}) {
    if (!along) return at;
    const v = (x - at[0]) * along[0] + (y - at[1]) * along[1];
    return [at[0] + v * along[0], at[1] + v * along[1]];
  }

  /** Everything that the page shows, from the state of its controls. */
  function distil(state) {
    const {classes: k, each, mode, near, lam} = state, X = state.X.slice(0, 6 * k);
    const constant = mode === "points" && state.constant, p = constant ? 3 : 2;
    const Y = X.map((_, i) => identity(k)[Math.floor(i / 6)]);
    const fitted = fit(featuresOf(X, constant), Y, lam), W = state.decisions ? centre(fitted) : fitted;
    const found = {X, Y, W, constant, rank: rank(W)};
    if (mode === "labels") {
      const Q = identity(k).flatMap(row => Array.from({length: each}, () => row));
      const start = X.filter((_, i) => i % 6 < each), Z = near && each > 1 ? pinv(start) : undefined;
      const bound = largestLam(W, Q, Z), lamS = state.share * bound, signs = state.signs.slice(0, rank(carrier(W, Q, Z)));
      const P = state.share <= 1 ? features(W, Q, lamS, {Z, signs}) : null;
      Object.assign(found, {P, Phi: P, Q, Z, bound, lamS, signs, moved: Z && P ? relativeError(P, start) : null});
    } else {
      const m = state.m, own = state.own.slice(0, m), where = m < p ? places(W, m, constant) : null;
      const P = near && where ? own.map(x => nearestPlace(x, where)) : own, Phi = featuresOf(P, constant);
      Object.assign(found, {P, Phi, Q: labels(Phi, W, state.lamS), lamS: state.lamS, own, where});
    }
    if (found.P) Object.assign(found, {W_S: fit(found.Phi, found.Q, found.lamS), ...verify(found.Phi, found.Q, found.lamS, W)});
    return found;
  }
  window.ddref = {svd, fit, labels, carrier, largestLam, features, verify, centre, shortfall, places, nearestPlace, distil};

  // ---------------------------------------------------------------- words

  const PAGES = {necessity: "02_necessity", sufficiency: "03_sufficiency"};
  const THEOREMS = {
    characterisation: ["Theorem on all exact sets", `${PAGES.sufficiency}.html#thm-characterisation`],
    labels: ["Theorem on given labels", `${PAGES.sufficiency}.html#thm-given-labels`],
    shortfall: ["how close m points can come", `${PAGES.necessity}.html#cor-shortfall`],
    decisions: ["points needed for the same decisions", `${PAGES.necessity}.html#thm-decisions`],
  };
  const short = v => v === 0 ? "0" : Math.abs(v) >= 1e-3 && Math.abs(v) < 1e4 ? String(+v.toPrecision(3)) : v.toExponential(0);
  const percent = v => v > 0 && v < 0.01 ? "less than 1 %" : `${Math.round(100 * v)} %`;
  const points = m => m === 1 ? "one point" : `${["", "", "two", "three", "four", "five", "six"][m] ?? m} points`;
  const capital = text => text[0].toUpperCase() + text.slice(1);

  /** The sentence under the panels: its kind and its text, in which {name} is a link to a theorem. */
  function verdict(state, found) {
    const {P, bound, lamS, signs, rank: r, exact, error, condition} = found, name = state.decisions ? "W\u00a0C" : "W";
    if (!P && state.share > 1) {
      return ["none", `Refused: λ_S = ${short(lamS)} is above the bound 1 / (4 ‖D‖²) = ${short(bound)}, so an equation ` +
        `t / (t² + λ_S) = s has no real root, and no points train this model with these labels ({labels}). ` +
        `Labels ${Math.sqrt(state.share).toFixed(2)} times as large would do.`];
    }
    if (!P) return ["none", "Refused: at λ_S = 0 there is only the + branch. The − root is t = 0, a direction that the points would not have ({labels})."];
    const m = P.length, trained = `Trained on ${m === 1 ? "this point" : `these ${points(m)}`}: `;
    if (exact) {
      const few = new Set(P.map(x => x.map(v => v.toFixed(9)).join())).size < m ? " Points of one class coincide: one a class would do." : "";
      const moved = found.moved ? ` They are ${percent(found.moved)} away from the real samples that they start from.` : "";
      return ["exact", `${trained}the same model, every number of ${name}. Relative error ${short(error)}, ` +
        `condition number ${short(condition)}.${few}${moved}`];
    }
    const away = `${trained}another model, ${percent(error)} away from ${name}. `;
    if (m < r) {
      const least = shortfall(found.W, m), best = error <= least * (1 + 1e-9) + 1e-12;
      return ["other", `${away}${name} has rank ${r}, and ${points(m)} never ${m === 1 ? "trains" : "train"} more than rank ${m}. ` +
        (best ? `No set of ${m} comes closer ({shortfall}).` : `The best ${points(m).replace("one ", "")} ${m === 1 ? "is" : "are"} ${percent(least)} away ({shortfall}).`)];
    }
    if (error < 1e-3) {
      return ["other", `${trained}rounding is in the way. Relative error ${short(error)} at condition number ${short(condition)}: ` +
        "nearly on one line, they hardly span W."];
    }
    if (found.where?.at && m === r) return ["other", `${away}${capital(points(m))} can carry ${name}, but only from the dotted line ({characterisation}).`];
    return ["other", `${away}The points lie on one line${found.constant ? "" : " through the origin"}: ` +
      `they do not span the columns of ${name} ({characterisation}).`];
  }

  /** The same in Python, with the package. */
  function python(state, found) {
    const rows = A => `[${A.map(row => `[${row.join(", ")}]`).join(",\n    ")}]`, k = state.classes;
    const ones = name => found.constant ? `np.column_stack([${name}, np.ones(len(${name}))])` : name;
    const lines = ["import numpy as np", "from ddref import distill, frontier, krr, measure", "",
      `X = np.array(${rows(found.X)})`, `Y = np.repeat(np.eye(${k}), 6, axis=0)`,
      `W = krr.fit(${ones("X")}, Y, ${state.lam})`];
    if (state.decisions) lines.push("W = frontier.centre(W)  # decides as W does");
    lines.push(`lam_S = ${found.lamS}`);
    if (state.mode === "labels") {
      lines.push(`Y_S = np.repeat(np.eye(${k}), ${state.each}, axis=0)`);
      if (found.Z) lines.push(`Z = np.linalg.pinv(X[np.arange(${6 * k}) % 6 < ${state.each}])  # of the real samples`);
      lines.push(`Phi_S = distill.features(W, Y_S, lam_S, signs=[${found.signs.join(", ")}]${found.Z ? ", Z=Z" : ""})`);
    } else {
      lines.push(`X_S = np.array(${rows(found.P)})`, `Phi_S = ${ones("X_S")}`, "Y_S = distill.labels(Phi_S, W, lam_S)");
    }
    return [...lines, "print(measure.verify(Phi_S, Y_S, lam_S, W))"].join("\n");
  }

  // ---------------------------------------------------------------- elements

  const NS = "http://www.w3.org/2000/svg", SVG_TAGS = ["svg", "g", "path", "circle", "line", "text", "rect", "title"];
  function element(parent, tag, attributes = {}, text) {
    const node = SVG_TAGS.includes(tag) ? document.createElementNS(NS, tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) rich(node, text);
    parent.append(node);
    return node;
  }
  /** Text with λ_S as a subscript and {name} as a link to a theorem. */
  function rich(node, text) {
    node.replaceChildren();
    for (const part of text.split(/(_S|\{\w+\})/)) {
      if (part === "_S") element(node, "sub").textContent = "S";
      else if (part.startsWith("{")) {
        const [name, href] = THEOREMS[part.slice(1, -1)];
        element(node, "a", {href}).textContent = name;
      } else if (part) node.append(part);
    }
  }
  const plain = text => text.replace(/λ_S/g, "lambda S").replace(/\{(\w+)\}/g, (_, name) => THEOREMS[name][0]);

  // ---------------------------------------------------------------- a panel

  const SIZE = 320; // of a panel, in units of its drawing
  const REACHES = Array.from({length: 17}, (_, i) => 0.025 * 2 ** i); // half the width of a panel in the plane
  const colour = c => `var(--pg-${c})`;

  /** The part of a polygon where the function f, affine, is not negative. */
  function clipped(polygon, f) {
    return polygon.flatMap((a, i) => {
      const b = polygon[(i + 1) % polygon.length], [u, v] = [f(a), f(b)];
      const cut = a.map((x, j) => x + u / (u - v) * (b[j] - x));
      return [...(u >= 0 ? [a] : []), ...(u >= 0) !== (v >= 0) ? [cut] : []];
    });
  }
  /** Where each class has the largest score, as polygons of a square of half width h; ties go to the first. */
  function cells(W, constant, h) {
    const score = (x, c) => featuresOf([x], constant)[0].reduce((sum, v, i) => sum + v * W[i][c], 0);
    return W[0].map((_, c) => W[0].reduce((polygon, _, other) => {
      const same = W.every(row => row[c] === row[other]);
      if (other === c || (same && other > c)) return polygon;
      return same ? [] : clipped(polygon, x => score(x, c) - score(x, other));
    }, [[-h, -h], [h, -h], [h, h], [-h, h]]));
  }
  const area = polygon => Math.abs(polygon.reduce((sum, [x, y], i) => {
    const [u, v] = polygon[(i + 1) % polygon.length];
    return sum + (x * v - u * y) / 2;
  }, 0));
  /** Where a cell has its number: between its middle and its outermost corner. */
  function numberAt(polygon) {
    const middle = [0, 1].map(j => polygon.reduce((sum, x) => sum + x[j], 0) / polygon.length);
    const far = polygon.reduce((a, b) => Math.hypot(...b) > Math.hypot(...a) ? b : a);
    return middle.map((v, j) => 0.6 * v + 0.4 * far[j]);
  }

  /** Half the width of the right panel: all points of the set, or the line that they must be on, are in it. */
  function reachOf(state, {P, where}) {
    const dragged = state.mode === "points", farthest = (where?.at ?? [0]).map(v => 1.4 * v);
    const largest = Math.max(...(dragged ? farthest : (P ?? [[0]]).flat().map(v => 1.1 * v)).map(Math.abs));
    if (largest === 0 || (dragged && largest < state.reach)) return state.reach;
    return REACHES.find(v => v > largest) ?? REACHES.at(-1);
  }

  function panel(root, title, redraw) {
    const box = element(root, "figure", {class: "pg-panel"});
    element(box, "figcaption", {class: "pg-title"}, title);
    const svg = element(box, "svg", {viewBox: `0 0 ${SIZE} ${SIZE}`, role: "group", "aria-label": title});
    const layers = Object.fromEntries(["cells", "axes", "hints", "marks"].map(layer => [layer, element(svg, "g", {class: `pg-${layer}`})]));
    const caption = element(box, "figcaption");
    const marks = [];
    let reach = 1, chosen = 0;

    const place = ([x, y]) => [SIZE / 2 * (1 + x / reach), SIZE / 2 * (1 - y / reach)].map(v => +v.toFixed(2));
    const path = (polygon, end = "Z") => `M${polygon.map(x => place(x).join(" ")).join("L")}${end}`;
    const move = (mark, to) => { mark.moved(to.map(v => Math.max(-0.97 * reach, Math.min(0.97 * reach, v)))); redraw(); };
    const choose = i => { chosen = i; marks.forEach((mark, j) => mark.node.setAttribute("tabindex", j === i ? 0 : -1)); };

    // A finger takes the nearest point: hit circles of 44 px overlap.
    let held = null;
    svg.addEventListener("pointerdown", event => {
      const unit = svg.getBoundingClientRect().width / SIZE, box = svg.getBoundingClientRect();
      const far = marks.map(mark => !mark.moved ? Infinity : Math.hypot(
        place(mark.at)[0] * unit - (event.clientX - box.left), place(mark.at)[1] * unit - (event.clientY - box.top)));
      const nearest = far.indexOf(Math.min(...far));
      if (!(far[nearest] <= 23)) return;
      held = marks[nearest];
      choose(nearest);
      held.node.focus({preventScroll: true});
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    svg.addEventListener("pointermove", event => {
      if (!held) return;
      const box = svg.getBoundingClientRect();
      move(held, [((event.clientX - box.left) / box.width * 2 - 1) * reach, (1 - (event.clientY - box.top) / box.height * 2) * reach]);
    });
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = null; });
    svg.addEventListener("keydown", event => {
      const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
      const mark = marks[chosen], turn = {"]": 1, "[": marks.length - 1}[event.key];
      if (by && mark?.moved) move(mark, (mark.own ?? mark.at).map((v, j) => v + (event.shiftKey ? 0.2 : 0.05) * by[j]));
      else if (turn && mark) { choose((chosen + turn) % marks.length); marks[chosen].node.focus(); }
      else return;
      event.preventDefault();
    });

    return {
      svg, caption,
      /** Colours of W's cells, and dashed borders of the cells of another model. */
      model(W, constant, other, half) {
        reach = half;
        layers.cells.replaceChildren();
        (W ? cells(W, constant, reach) : []).forEach((polygon, c) => {
          if (area(polygon) < 1e-3 * reach ** 2) return;
          element(layers.cells, "path", {d: path(polygon), fill: colour(c), "fill-opacity": 0.25});
          const [x, y] = place(numberAt(polygon));
          element(layers.cells, "text", {x, y: y + 7, class: "pg-class"}, String(c + 1));
        });
        const edges = (other ? cells(other, constant, reach) : []).flatMap(polygon => polygon.map((a, i) => [a, polygon[(i + 1) % polygon.length]]));
        const inside = edges.filter(([a, b]) => ![0, 1].some(j => a[j] === b[j] && Math.abs(a[j]) === reach));
        const drawn = inside.map(edge => path(edge.sort(([x, y], [u, v]) => Math.abs(x - u) > 1e-9 * reach ? x - u : y - v), ""));
        for (const d of new Set(drawn)) element(layers.cells, "path", {d, class: "pg-border"}); // neighbours share it
        layers.axes.replaceChildren();
        const [x, y] = place([0, 0]), step = [5, 2, 1].map(v => v * 10 ** Math.floor(Math.log10(reach))).find(v => v < 0.95 * reach) ?? reach / 2;
        element(layers.axes, "line", {x1: 0, x2: SIZE, y1: y, y2: y});
        element(layers.axes, "line", {y1: 0, y2: SIZE, x1: x, x2: x});
        for (const v of [-step, step]) {
          const at = place([v, 0])[0];
          element(layers.axes, "line", {x1: at, x2: at, y1: y - 3, y2: y + 3});
          element(layers.axes, "text", {x: at, y: y + 15}, String(+v.toPrecision(2)).replace("-", "−"));
        }
      },
      /** The dotted line or place that points must be on, and from where they were moved there. */
      hints(where, moves) {
        layers.hints.replaceChildren();
        if (where?.along) {
          const ends = [-9, 9].map(v => where.at.map((x, j) => x + v * where.along[j]));
          element(layers.hints, "path", {d: path(ends, ""), class: "pg-places"});
        } else if (where) {
          const [cx, cy] = place(where.at);
          element(layers.hints, "circle", {cx, cy, r: 15, class: "pg-places"});
        }
        for (const [from, to] of moves) {
          const [cx, cy] = place(from);
          element(layers.hints, "path", {d: path([from, to], ""), class: "pg-move"});
          element(layers.hints, "circle", {cx, cy, r: 4, class: "pg-move"});
        }
      },
      /** Points: {at, own, colour, square, label, bars, moved}. */
      points(list) {
        marks.splice(list.length).forEach(({node}) => node.remove());
        list.forEach((point, i) => {
          let mark = marks[i];
          if (!mark || mark.square !== point.square) {
            mark?.node.remove();
            const node = element(layers.marks, "g", {class: "pg-point"});
            element(node, "circle", {r: 22, class: "pg-hit"});
            element(node, ...point.square ? ["rect", {x: -7.5, y: -7.5, width: 15, height: 15}] : ["circle", {r: 7.5}]).classList.add("pg-dot");
            mark = marks[i] = {node, bars: element(node, "g", {class: "pg-bars"})};
          }
          const {node, bars} = mark;
          Object.assign(mark, point, {node, bars});
          node.setAttribute("transform", `translate(${place(point.at).join(" ")})`);
          node.setAttribute("role", point.moved ? "button" : "img");
          node.setAttribute("aria-label", `${point.label}, at ${point.at.map(v => v.toFixed(2)).join(" and ")}`);
          if (point.moved) node.setAttribute("aria-roledescription", "point to drag");
          else node.removeAttribute("aria-roledescription");
          node.classList.toggle("pg-fixed", !point.moved);
          node.querySelector(".pg-dot").setAttribute("fill", point.colour);
          bars.replaceChildren();
          (point.bars ?? []).forEach((v, c) => element(bars, "rect", {
            x: 12 + 6 * c, width: 5, y: (v > 0 ? -20 * v : 0).toFixed(2), height: Math.abs(20 * v).toFixed(2), fill: colour(c)}));
          if (point.bars) element(bars, "line", {x1: 11, x2: 12 + 6 * point.bars.length, y1: 0, y2: 0});
        });
        choose(Math.min(chosen, Math.max(0, list.length - 1)));
        if (!list.some(point => point.moved)) marks.forEach(({node}) => node.removeAttribute("tabindex"));
      },
    };
  }

  // ---------------------------------------------------------------- the controls

  let number = 0; // of a group of controls in the page: names must differ

  function controls(box, state, redraw) {
    const all = [], row = (tag, text, attributes = {}) => {
      const node = element(box, tag, {class: "pg-row", ...attributes});
      element(node, "span", {class: "pg-name"}, text);
      return node;
    };
    const add = (node, shown, update) => all.push(() => { node.hidden = !shown(); if (!node.hidden) update(); });
    return {
      range(text, key, low, high, step, {shown = () => true, show, to = v => v, from = v => v}) {
        const node = row("label", text), input = element(node, "input", {type: "range", min: low, max: high, step});
        const value = element(node, "span", {class: "pg-value"});
        input.addEventListener("input", () => { state[key] = to(+input.value); redraw(); });
        add(node, shown, () => {
          input.value = from(state[key]);
          rich(value, show(state[key]));
          input.setAttribute("aria-valuetext", plain(show(state[key])));
        });
      },
      choice(text, options, get, set, {shown = () => true} = {}) {
        const node = row("div", text, {role: "radiogroup", "aria-label": plain(text)}), name = `pg-${++number}`;
        const inputs = options.map(([value, label]) => {
          const item = element(node, "label"), input = element(item, "input", {type: "radio", name});
          element(item, "span", {}, label);
          input.addEventListener("change", () => { set(value); redraw(); });
          return [value, input];
        });
        add(node, shown, () => { for (const [value, input] of inputs) input.checked = get() === value; });
      },
      check(text, key, {shown = () => true} = {}) {
        const node = element(box, "label", {class: "pg-row"}), input = element(node, "input", {type: "checkbox"});
        element(node, "span", {}, text);
        input.addEventListener("change", () => { state[key] = input.checked; redraw(); });
        add(node, shown, () => { input.checked = state[key]; });
      },
      update: () => all.forEach(update => update()),
    };
  }

  // ---------------------------------------------------------------- the page

  const SAMPLES = [[0.9, 0.25], [1.1, -0.2], [0.7, 0.05], [1.05, 0.45], [0.8, -0.35], [1.25, 0.1],
    [-0.35, 0.95], [-0.6, 0.75], [-0.1, 1.15], [-0.7, 1.05], [-0.25, 0.7], [-0.5, 1.2],
    [-0.5, -0.85], [-0.2, -1.1], [-0.75, -0.6], [-0.4, -0.6], [-0.65, -1.1], [-0.95, -0.85]];
  const OWN = [[0.9, 0.9], [-0.9, 0.3], [0.2, -1], [1.1, -0.5], [-1, -0.8], [0.3, 1.2]];
  const BEGIN = {classes: 3, mode: "labels", decisions: false, constant: false, lam: 1, share: 0.5, lamS: 0.1, signs: [1, 1],
    each: 1, m: 2, near: false, reach: 1.6, shift: [0, 0]};

  /** The controls as they begin: those of every playground, then what the attributes of this one say. */
  function begun(dataset) {
    const given = Object.entries(dataset).filter(([key]) => key in BEGIN)
      .map(([key, value]) => [key, typeof BEGIN[key] === "string" ? value : JSON.parse(value)]);
    const state = {...structuredClone(BEGIN), own: structuredClone(OWN), ...Object.fromEntries(given)};
    return {...state, X: SAMPLES.map(x => x.map((v, j) => v + state.shift[j]))};
  }

  function start(root) {
    const state = begun(root.dataset);
    root.replaceChildren();
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", "Playground: distil it yourself");
    const left = panel(root, "The data and their model", draw), right = panel(root, "The set and the model trained on it", draw);
    const said = element(root, "p", {class: "pg-said"}), heard = element(root, "p", {class: "pg-heard", role: "status"});
    const box = element(root, "div", {class: "pg-controls"}), add = controls(box, state, draw);
    const first = () => state.mode === "labels", dragged = () => state.mode === "points";
    add.choice("classes", [[2, "two"], [3, "three"]], () => state.classes, v => { state.classes = v; });
    add.choice("begin with", [["labels", "one-hot labels"], ["points", "points you drag"]], () => state.mode, v => { state.mode = v; });
    add.range("λ of the data", "lam", -2, 2, 0.05, {to: v => 10 ** v, from: v => Math.log10(v), show: short});
    add.range("λ_S, of its bound", "share", 0, 1.2, 0.01, {shown: first, show: v => `${Math.round(100 * v)} %`});
    add.range("λ_S", "lamS", 0, 2, 0.01, {shown: dragged, show: short});
    add.range("points a class", "each", 1, 3, 1, {shown: first, show: String});
    add.range("number of points", "m", 1, 6, 1, {shown: dragged, show: String});
    for (const i of [0, 1]) {
      add.choice(`branch, direction ${i + 1}`, [[1, "+"], [-1, "−"]], () => state.signs[i], v => { state.signs[i] = v; },
        {shown: () => first() && i < found.signs.length});
    }
    add.choice("distil", [[false, "all of W"], [true, "its decisions, W\u00a0C"]], () => state.decisions, v => { state.decisions = v; });
    add.choice("features", [[false, "(x₁, x₂)"], [true, "(x₁, x₂, 1)"]], () => state.constant, v => { state.constant = v; }, {shown: dragged});
    add.check("near the real samples", "near", {shown: () => first() && state.each > 1});
    add.check("at the nearest place that serves best", "near", {shown: () => dragged() && found.where});
    const reset = element(box, "button", {type: "button", class: "pg-button"}, "start again");
    reset.addEventListener("click", () => { Object.assign(state, begun(root.dataset)); draw(); });
    const details = element(root, "details", {class: "pg-python"});
    element(details, "summary", {}, "The same in Python");
    const code = element(details, "pre");
    details.addEventListener("toggle", draw);

    let found, waiting;
    function draw() {
      found = distil(state);
      const {X, W, W_S, P, Q, constant, lamS} = found, [kind, text] = verdict(state, found);
      add.update();
      left.model(W, constant, null, state.reach);
      left.points(X.map((at, i) => ({
        at, colour: colour(Math.floor(i / 6)), label: `sample ${i % 6 + 1} of class ${Math.floor(i / 6) + 1}`,
        moved: to => { state.X[i] = to; },
      })));
      rich(left.caption, `${X.length} samples; colours: the class that the model W decides for. Drag a sample (keys: arrows; [ and ] choose).`);
      right.model(W_S, constant, W, reachOf(state, found));
      right.hints(found.where, P && state.near && found.own ? found.own.map((from, i) => [from, P[i]]) : []);
      const most = Q ? Math.max(...Q.flat().map(Math.abs)) || 1 : 1;
      right.points((P ?? []).map((at, i) => ({
        at, own: found.own?.[i], square: true, colour: dragged() ? "var(--pg-ink)" : colour(Q[i].indexOf(1)),
        label: `distilled point ${i + 1}, label ${Q[i].map(v => v.toFixed(2)).join(", ")}`,
        bars: dragged() ? Q[i].map(v => v / most) : null, moved: dragged() ? to => { state.own[i] = to; } : null,
      })));
      rich(right.caption, !P ? "No points." : `${capital(points(P.length))}, ${dragged() ? "bars: their labels" : "one-hot labels"}, ` +
        `λ_S = ${short(lamS)}. Dashed: the borders on the left.${dragged() ? " Drag a point." : ""}`);
      rich(said, text);
      said.className = `pg-said pg-${kind}`;
      clearTimeout(waiting); // a voice reads where the hand rests, and who reads on finds the sentence once
      waiting = setTimeout(() => {
        heard.textContent = plain(text);
        waiting = setTimeout(() => { heard.textContent = ""; }, 5000);
      }, 500);
      if (details.open) code.textContent = python(state, found);
      root.playground = {state, found, draw, python: () => python(state, found)};
    }
    draw();
  }

  /** Buttons of the text that set the first playground of the page to an experiment. */
  function offer(button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const root = document.querySelector(".ddref-playground"), {state, draw} = root.playground;
      Object.assign(state, begun(root.dataset), JSON.parse(button.dataset.set));
      draw();
      root.scrollIntoView({block: "start"});
      root.querySelector("[tabindex='0']")?.focus({preventScroll: true});
    });
  }

  function begin() {
    document.querySelectorAll(".ddref-playground").forEach(start);
    document.querySelectorAll("button.pg-try").forEach(offer);
  }
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", begin) : begin();
})();
