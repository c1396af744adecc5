// What a trace is, without any element: the tree of its spans, which of them
// can be seen, and the path that made the request take as long as it did.

// build makes the tree. A span whose parent has not come stands at the top, and
// so does one of each circle of spans that are each other's parents.
export function build(doc) {
  const nodes = doc.spans.map((span, n) => ({
    span, n, children: [], parent: null, depth: 0, open: true, logs: [], segments: [],
    end: span.at + span.duration, orphan: false, visited: false, below: 0,
  }));
  const byID = new Map();
  for (const node of nodes) if (!byID.has(node.span.id)) byID.set(node.span.id, node);
  const roots = [];
  for (const node of nodes) {
    const parent = node.span.parent ? byID.get(node.span.parent) : null;
    if (parent && parent !== node) {
      node.parent = parent;
      parent.children.push(node);
    } else {
      node.orphan = Boolean(node.span.parent);
      roots.push(node);
    }
  }
  const order = (a, b) => a.span.at - b.span.at || b.span.duration - a.span.duration || a.n - b.n;
  for (const node of nodes) node.children.sort(order);
  const visit = (root) => {
    const stack = [root];
    const seen = [];
    while (stack.length) {
      const node = stack.pop();
      if (node.visited) continue;
      node.visited = true;
      node.depth = node.parent ? node.parent.depth + 1 : 0;
      seen.push(node);
      for (const child of node.children) stack.push(child);
    }
    for (const node of seen.reverse()) if (node.parent) node.parent.below += node.below + 1;
  };
  for (const root of roots) visit(root);
  for (const node of nodes) {
    if (node.visited) continue;
    node.parent.children = node.parent.children.filter((c) => c !== node);
    node.parent = null;
    node.orphan = true;
    roots.push(node);
    visit(node);
  }
  roots.sort(order);
  for (const log of doc.logs) byID.get(log.span)?.logs.push(log);
  const last = nodes.reduce((max, node) => Math.max(max, node.end), 1);
  const model = { doc, nodes, roots, byID, length: last };
  markCritical(model);
  return model;
}

// visible returns the rows in order, what is folded left out.
export function visible(model) {
  const rows = [];
  const stack = [...model.roots].reverse();
  while (stack.length) {
    const node = stack.pop();
    rows.push(node);
    if (node.open) for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i]);
  }
  return rows;
}

// markCritical goes back from the end of the longest root: at each moment the
// request waited for the span that ended last, and while none of a span's
// children had yet to end, for the span itself.
function markCritical(model) {
  const root = model.roots.reduce((best, r) => (!best || r.span.duration > best.span.duration ? r : best), null);
  if (!root) return;
  const frame = (node, until) => ({ node, until, kids: [...node.children].sort((a, b) => b.end - a.end), next: 0 });
  const stack = [frame(root, root.end)];
  const mark = (node, from, to) => { if (to > from || node.span.duration === 0) node.segments.push([from, to]); };
  while (stack.length) {
    const f = stack[stack.length - 1];
    let kid = null;
    while (f.next < f.kids.length && !kid) {
      const k = f.kids[f.next++];
      const outlives = k.end > f.until && f.until < f.node.end; // another's time already
      if (k.span.at < f.until && !outlives) kid = k;
    }
    if (!kid) {
      mark(f.node, Math.min(f.node.span.at, f.until), f.until);
      stack.pop();
      continue;
    }
    const until = Math.min(kid.end, f.until);
    mark(f.node, until, f.until);
    f.until = Math.max(kid.span.at, f.node.span.at);
    stack.push(frame(kid, until));
  }
}

// selfTime is what of a node's duration no child of it was running.
export function selfTime(node) {
  let covered = 0;
  let at = node.span.at;
  for (const child of node.children) {
    const from = Math.max(at, child.span.at);
    const to = Math.min(node.end, child.end);
    if (to > from) {
      covered += to - from;
      at = to;
    }
  }
  return Math.max(0, node.span.duration - covered);
}

// check refuses what is no trace's file, and makes numbers of what must be.
export function check(doc) {
  if (doc?.format !== 'kumihimo.trace/1' || !/^[0-9a-f]{32}$/.test(doc.id) || !Array.isArray(doc.spans)) {
    throw new Error('The file is no trace that kumihimo has exported.');
  }
  const number = (v) => (Number.isFinite(v) ? v : 0);
  return {
    ...doc,
    spans: doc.spans.map((s) => ({
      ...s, id: String(s.id), name: String(s.name ?? ''), service: String(s.service ?? ''), at: number(s.at), duration: Math.max(0, number(s.duration)),
    })),
    logs: (Array.isArray(doc.logs) ? doc.logs : []).map((l) => ({ ...l, message: String(l.message ?? ''), at: number(l.at), level: number(l.level) })),
  };
}
