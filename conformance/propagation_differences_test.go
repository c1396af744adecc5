package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
)

// A difference is a point in which our propagator is not dd-trace-go's, on
// purpose. It undoes itself: in changes what the oracle is shown, out what it
// answered, so that what is left must be equal. A difference that changes
// nothing has no part in a case.
type difference struct {
	name   string
	reason string
	in     func(c *comparison)
	out    func(c *comparison, want, got *facts)
}

// comparison is one case: headers, and the styles in which they are read.
type comparison struct {
	sent    http.Header // as they came
	headers http.Header // as the oracle sees them
	styles  []string
	open    bool // no decision came
}

func (c *comparison) reads(style string) bool { return slices.Contains(c.styles, style) }

// headersOf are the headers of a style, those it can do without last.
var headersOf = map[string][]string{
	"datadog":          {"X-Datadog-Trace-Id", "X-Datadog-Parent-Id", "X-Datadog-Origin", "X-Datadog-Tags", "X-Datadog-Sampling-Priority"},
	"tracecontext":     {"Traceparent", "Tracestate"},
	"b3multi":          {"X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled"},
	"b3 single header": {"B3"},
}

func (c *comparison) drop(names ...string) {
	for _, n := range names {
		delete(c.headers, n)
	}
}

// alone asks the oracle about one style.
func (c *comparison) alone(style string) (*tracer.SpanContext, error) {
	return oracleFor([]string{style}).Extract(tracer.HTTPHeadersCarrier(c.headers.Clone()))
}

var differences = []difference{
	{
		name:   "bounds",
		reason: "an id longer than 2^64 has digits, a priority beyond 32 bits and an origin above 128 bytes or with control characters are not read: they cannot be meant, and would be sent on. _dd.p.tid alone is no trace id",
		in:     boundNumbers,
		out: func(_ *comparison, want, _ *facts) { // an origin from tracestate
			if len(want.Origin) > 128 || !printable(want.Origin) {
				want.Origin, want.O = "", ""
			}
		},
	},
	{
		name:   "grammar",
		reason: "traceparent is read as W3C has it: the oracle strips '_', '-' and newlines within it and takes signs and longer flags in later versions",
		in: func(c *comparison) {
			if v, ok := last(c.headers, "Traceparent"); ok && !traceparentForm.MatchString(v) {
				c.drop("Traceparent")
			}
		},
	},
	{
		name:   "flags above 7f",
		reason: "W3C reserves the upper flag for later; the oracle reads flags as a signed byte and loses the trace",
		in: func(c *comparison) {
			v, _ := last(c.headers, "Traceparent")
			if v = strings.Trim(v, "\t -"); len(v) >= 55 && v[53] >= '8' {
				c.headers.Set("Traceparent", v[:53]+"0"+v[54:])
			}
		},
	},
	{
		name:   "random flag",
		reason: "W3C's second flag, that the id is random, is sent on, as W3C wants; the oracle knows one flag",
		out: func(_ *comparison, _, got *facts) {
			if got.Flags != "" {
				got.Flags = "0" + string(got.Flags[1]&^2)
			}
		},
	},
	{
		name:   "b3",
		reason: "B3's ids are exactly hexadecimal and at most 128 bits long, and 'true' and 'false' are decisions as in B3's specification; the oracle cuts long ids and takes a malformed decision for a malformed trace",
		in:     repairB3,
	},
	{
		name:   "malformed headers hide nothing",
		reason: "a malformed header is as good as none; the oracle gives up on all styles, and on a trace whose priority alone it cannot read",
		in:     dropMalformed,
	},
	{
		name:   "tags for others",
		reason: "only clean _dd.p. tags are sent on; the oracle sends on any tag, into the meta of all services downstream",
		in:     cleanTags,
	},
	{
		name:   "decide here",
		reason: "no priority means that the next service decides: no s: and the sampled flag set, since a tracer that knows no third state would drop the trace; the oracle says 0, and panics where it has no tags either",
		in: func(c *comparison) {
			switch style := c.firstStyle(); {
			case style == "datadog" && c.headers.Get("x-datadog-sampling-priority") == "":
				c.headers.Set("x-datadog-sampling-priority", "1")
				c.open = true
			case style == "b3multi" && c.headers.Get("x-b3-sampled") == "":
				c.headers.Set("x-b3-sampled", "1")
				c.open = true
			case style == "b3 single header" && strings.Count(strings.TrimSuffix(c.headers.Get("b3"), "-"), "-") == 1:
				c.headers.Set("b3", strings.TrimSuffix(c.headers.Get("b3"), "-")+"-1")
				c.open = true
			}
		},
		out: func(c *comparison, want, _ *facts) {
			if c.open {
				want.Priority, want.S = "", ""
				delete(want.Tags, "_dd.p.dm")
				delete(want.T, "dm")
			}
		},
	},
	{
		name:   "no decision maker without a keep",
		reason: "dd-trace-go's own tracer removes _dd.p.dm at a priority of 0 or less; its propagator alone sends on what came. A decision maker that is no number is none, and one that is is written as such",
		out: func(_ *comparison, want, _ *facts) {
			priority, err := strconv.Atoi(want.Priority)
			dm := want.Tags["_dd.p.dm"]
			maker, dmErr := strconv.ParseInt(strings.TrimPrefix(dm, "-"), 10, 8)
			if err != nil || dmErr != nil || priority <= 0 || !mechanismForm.MatchString(dm) {
				delete(want.Tags, "_dd.p.dm")
				delete(want.T, "dm")
				return
			}
			want.Tags["_dd.p.dm"] = fmt.Sprintf("-%d", maker)
			if want.T["dm"] != "" {
				want.T["dm"] = want.Tags["_dd.p.dm"]
			}
		},
	},
	{
		name:   "last parent",
		reason: "p: is the last span upstream that Datadog has: who sends Datadog's headers sends to Datadog, who sends B3's alone may not; the oracle forgets the former when both styles agree, vouches for the latter, and sends on a p: that is no id",
		out: func(c *comparison, want, _ *facts) {
			if want.Found {
				want.P = c.lastParent()
			}
		},
	},
	{
		name:   "vendors one by one",
		reason: "a malformed or repeated member of tracestate does not go on and takes no other with it; the oracle sends on any text",
		out: func(_ *comparison, want, _ *facts) {
			var vendors []string
			seen := map[string]bool{}
			for _, v := range want.Vendors {
				key, _, _ := strings.Cut(v, "=")
				if memberForm.MatchString(v) && !seen[key] {
					seen[key] = true
					vendors = append(vendors, v)
				}
			}
			want.Vendors = vendors
		},
	},
	{
		name:   "ot is a vendor",
		reason: "OpenTelemetry's member is kept as it came and where it stood; the oracle reads it, moves it to the front and may write its own",
		out: func(_ *comparison, want, got *facts) {
			ot := func(v string) bool { return strings.HasPrefix(v, "ot=") }
			want.Vendors, got.Vendors = slices.DeleteFunc(want.Vendors, ot), slices.DeleteFunc(got.Vendors, ot)
		},
	},
	{
		name:   "dd is written anew",
		reason: "the member dd is always written from what was understood; the oracle sends on one that begins tracestate as it came, in its unknown parts too, and lets tags in it be what x-datadog-tags could not hold",
		out: func(c *comparison, want, got *facts) {
			for _, k := range c.brokenTags() {
				delete(want.T, k)
				delete(got.T, k)
			}
			maps.DeleteFunc(want.T, func(k, v string) bool { return k == "tid" || !tagForm.MatchString("_dd.p."+k+"="+v) })
			maps.DeleteFunc(want.Tags, func(k, v string) bool { return !tagForm.MatchString(k + "=" + v) })
			if want.Found && want.S != "" && want.S != want.Priority {
				want.S = want.Priority
			}
		},
	},
	{
		name:   "no low half",
		reason: "a trace id whose low 64 bits are zero is sent on in W3C's headers alone: the oracle sends x-datadog-trace-id: 0, which to a tracer of 64-bit ids is no trace",
		out: func(_ *comparison, want, _ *facts) {
			if want.Trace == "0" {
				want.Trace, want.Parent, want.Priority, want.Origin, want.Tags = "", "", "", "", nil
			}
		},
	},
	{
		name:   "links",
		reason: "a link's flag says whether its trace is kept, its tracestate is of other vendors; the oracle flags a negative priority as kept and repeats the dd member",
		out: func(_ *comparison, want, got *facts) {
			for i := range want.Links {
				want.Links[i] = plainLink(want.Links[i])
			}
			for i := range got.Links {
				got.Links[i] = plainLink(got.Links[i])
			}
		},
	},
}

var (
	traceparentForm = regexp.MustCompile(`(?i)^[\t -]*(?:00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|(?:0[1-9a-f]|[1-9a-e][0-9a-f]|f[0-9a-e])-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-(?s:.)*)?)[\t -]*$`)
	memberForm      = regexp.MustCompile(`^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$`)
	mechanismForm   = regexp.MustCompile(`^-[0-9]{1,3}$`)
	tagForm         = regexp.MustCompile(`^_dd\.p\.[!-+\--<>-~]+=[ -+\--~]+$`)
)

// last returns the last value of a header, the one both propagators take.
func last(h http.Header, name string) (string, bool) {
	v := h[name]
	if len(v) == 0 {
		return "", false
	}
	return v[len(v)-1], true
}

func boundNumbers(c *comparison) {
	for _, name := range []string{"X-Datadog-Trace-Id", "X-Datadog-Parent-Id"} {
		if v, _ := last(c.headers, name); len(v) > 20 {
			c.drop(name)
		}
	}
	if _, ok := last(c.headers, "X-Datadog-Trace-Id"); !ok {
		c.drop(headersOf["datadog"]...)
	}
	if v, ok := last(c.headers, "X-Datadog-Sampling-Priority"); ok {
		if _, err := strconv.ParseInt(v, 10, 32); err != nil || len(v) > 11 {
			c.drop("X-Datadog-Sampling-Priority")
		}
	}
	if v, ok := last(c.headers, "X-Datadog-Origin"); ok && (len(v) > 128 || !printable(v)) {
		c.drop("X-Datadog-Origin")
	}
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func repairB3(c *comparison) {
	fits := func(s string, digits int) bool {
		if s == "" || len(s) > digits {
			return false
		}
		_, err := hex.DecodeString(strings.Repeat("0", len(s)%2) + s)
		return err == nil
	}
	id, _ := last(c.headers, "X-B3-Traceid")
	span, _ := last(c.headers, "X-B3-Spanid")
	if !fits(id, 32) || !fits(span, 16) {
		c.drop(headersOf["b3multi"]...)
	}
	switch v, ok := last(c.headers, "X-B3-Sampled"); {
	case !ok:
	case v == "true" || v == "d":
		c.headers.Set("x-b3-sampled", "1")
	case v == "false":
		c.headers.Set("x-b3-sampled", "0")
	case v != "0" && v != "1":
		c.drop("X-B3-Sampled")
	}
	v, ok := last(c.headers, "B3")
	if !ok {
		return
	}
	parts := strings.SplitN(v, "-", 4)
	if len(parts) < 2 || !fits(parts[0], 32) || !fits(parts[1], 16) {
		c.drop("B3")
		return
	}
	if len(parts) > 2 {
		switch parts[2] {
		case "true":
			c.headers.Set("b3", parts[0]+"-"+parts[1]+"-1")
		case "false":
			c.headers.Set("b3", parts[0]+"-"+parts[1]+"-0")
		case "0", "1", "d":
		default:
			c.headers.Set("b3", parts[0]+"-"+parts[1])
		}
	}
}

func dropMalformed(c *comparison) {
	for _, style := range c.styles {
		names := headersOf[style]
		for range 2 {
			if _, err := c.alone(style); !errors.Is(err, tracer.ErrSpanContextCorrupted) {
				break
			}
			c.drop(names[len(names)-1])
			names = append(names[:0:0], names[:max(len(names)-1, 1)]...)
			if _, err := c.alone(style); errors.Is(err, tracer.ErrSpanContextCorrupted) {
				c.drop(headersOf[style]...)
			}
		}
	}
}

// cleanTags removes from x-datadog-tags what we do not take. A list that the
// oracle refuses as a whole we refuse too.
func cleanTags(c *comparison) {
	v, ok := last(c.headers, "X-Datadog-Tags")
	if !ok || len(v) > maxTags {
		return
	}
	var kept []string
	for _, tag := range strings.Split(v, ",") {
		if key, value, ok := strings.Cut(tag, "="); !ok || key == "" || value == "" {
			return
		}
		if tagForm.MatchString(tag) {
			kept = append(kept, tag)
		}
	}
	if list := strings.Join(kept, ","); list == "" {
		c.drop("X-Datadog-Tags")
	} else if list != v {
		c.headers.Set("X-Datadog-Tags", list)
	}
}

// firstStyle is the one that finds the trace.
func (c *comparison) firstStyle() string {
	for _, style := range c.styles {
		if _, err := c.alone(style); err == nil {
			return style
		}
	}
	return ""
}

// lastParent is the p: that must be sent on.
func (c *comparison) lastParent() string {
	known := ""
	dd, _ := c.alone("datadog")
	w3c, err := c.alone("tracecontext")
	hasW3C := c.reads("tracecontext") && err == nil
	p := c.memberParent()
	switch c.firstStyle() {
	case "datadog":
		known = hexID(dd.SpanID())
		if hasW3C && w3c.TraceID() == dd.TraceID() && w3c.SpanID() != dd.SpanID() && p != "" {
			known = p
		}
	case "tracecontext":
		known = p
	}
	if known == hexID(0) {
		return ""
	}
	return known
}

func hexID(id uint64) string {
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, id))
}

// memberParent is the p: that came, if it is an id.
func (c *comparison) memberParent() string {
	state := strings.Join(c.sent["Tracestate"], ",")
	if len(state) > 4096 {
		return ""
	}
	for _, member := range strings.Split(state, ",") {
		value, ok := strings.CutPrefix(strings.Trim(member, " \t"), "dd=")
		if !ok {
			continue
		}
		if len(value) > 256-len("dd=") {
			return ""
		}
		parent := ""
		for _, part := range strings.Split(value, ";") {
			if p, ok := strings.CutPrefix(part, "p:"); ok {
				parent = ""
				if b, err := hex.DecodeString(p); err == nil && len(b) == 8 {
					parent = strings.ToLower(p)
				}
			}
		}
		return parent
	}
	return ""
}

// brokenTags are the tags of the dd member that are none, by the names under
// which the oracle sends them on all the same.
func (c *comparison) brokenTags() (keys []string) {
	for _, state := range c.sent["Tracestate"] {
		for _, part := range strings.FieldsFunc(state, func(r rune) bool { return r == ',' || r == ';' }) {
			key, value, _ := strings.Cut(part, ":")
			if key, ok := strings.CutPrefix(key, "t."); ok && (strings.Contains(key, "=") || !tagForm.MatchString("_dd.p."+key+"="+value)) {
				keys = append(keys, strings.ReplaceAll(key, "=", "_"))
			}
		}
	}
	return keys
}

// plainLink leaves out what the difference "links" is about.
func plainLink(link string) string {
	link, _, _ = strings.Cut(link, " state=")
	ids, rest, _ := strings.Cut(link, " ")
	return fmt.Sprint(ids[:strings.LastIndexByte(ids, '/')], " ", rest)
}
