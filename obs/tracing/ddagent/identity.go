package ddagent

import (
	"sort"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// identity is what all spans of one resource share: the service and the tags
// that stand on each of them. It is immutable.
type identity struct {
	source  *resource.Resource
	service string
	tags    []tag  // sorted by key
	lengths uint64 // bit n is set if a tag's key has a length of n modulo 64
	size    int    // bytes of the tags
	facts   factSet
}

type tag struct{ key, value string }

// newIdentity puts together what res and o say. Options stand above the
// resource for env and version, and below it for the service, unless the
// resource only has the SDK's own guess.
func newIdentity(o Options, keys *keyTable, res *resource.Resource) *identity {
	id := &identity{source: res}
	tags := make(map[string]string)
	add := func(k keyInfo, v attribute.Value) {
		if k.fact != factNone {
			id.facts[k.fact] = factText(k, v)
		}
		if text := resourceText(keys, k, v); text != "" && tags[k.as] == "" {
			tags[k.as] = clean(text, maxValue)
		}
	}
	for k, v := range o.Tags {
		add(keys.lookup(k), attribute.StringValue(v))
	}
	id.facts = factSet{} // tags decide no names
	for _, kv := range res.Attributes() {
		add(keys.lookup(string(kv.Key)), kv.Value)
	}
	id.service = id.facts[factService]
	if o.Service != "" && (id.service == "" || strings.HasPrefix(id.service, "unknown_service")) {
		id.service = o.Service
	}
	id.facts[factService] = id.service
	id.service = serviceName(id.service)
	unify(tags, ext.Environment, o.Env, "deployment.environment.name", "deployment.environment")
	unify(tags, ext.Version, o.Version, "service.version")
	tags["language"] = "go"
	for k, v := range tags {
		id.tags = append(id.tags, tag{k, v})
		id.lengths |= 1 << (len(k) & 63)
		id.size += len(k) + len(v) + 4
	}
	sort.Slice(id.tags, func(i, j int) bool { return id.tags[i].key < id.tags[j].key })
	return id
}

// unify sets a unified service tag from the option, else from a resource
// attribute.
func unify(tags map[string]string, key, option string, attributes ...string) {
	if option != "" {
		tags[key] = clean(option, maxTag)
		return
	}
	for _, a := range attributes {
		if tags[key] == "" && tags[a] != "" {
			tags[key] = clean(tags[a], maxTag)
		}
	}
}

func resourceText(keys *keyTable, k keyInfo, v attribute.Value) string {
	switch k.treat {
	case omit, keepTrace, dropTrace:
		return ""
	case secret:
		return redact.Placeholder
	case redactURL:
		return keys.redactor.URL(v.String())
	case redactArgs:
		return keys.redactor.Query(v.String())
	default:
		return v.String()
	}
}

// overridden marks in over the tags of which attrs have the key.
func (id *identity) overridden(over []bool, attrs string) {
	in := reader{s: attrs}
	for a, ok := in.attr(); ok; a, ok = in.attr() {
		if id.lengths&(1<<(len(a.key)&63)) == 0 {
			continue
		}
		for i := range id.tags {
			if id.tags[i].key == a.key {
				over[i] = true
			}
		}
	}
}
