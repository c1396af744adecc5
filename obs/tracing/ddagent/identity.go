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
	keys    *keyTable // that the records of its spans refer to
	service string

	env, version string // as the tags have them

	tags    []tag  // sorted by key
	lengths uint64 // bit n is set if a tag's key has a length of n modulo 64
	size    int    // bytes of the tags
	facts   factSet
}

type tag struct {
	key, value string
	promoted   bool // v1.0 says it once a payload
}

// newIdentity puts together what res and o say. Options stand above the
// resource for env and version, and below it for the service, unless the
// resource only has the SDK's own guess.
func newIdentity(o Options, keys *keyTable, res *resource.Resource) *identity {
	id := &identity{source: res, keys: keys}
	tags := make(map[string]string)
	add := func(k *keyInfo, v attribute.Value) {
		if k.fact != factNone {
			id.facts[k.fact] = factText(k, &v)
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
	id.env, id.version = tags[ext.Environment], tags[ext.Version]
	for k, v := range tags {
		promoted := k == ext.Environment || k == ext.Version || k == "language"
		id.tags = append(id.tags, tag{k, v, promoted})
		id.lengths |= 1 << (len(k) & 63)
		id.size += len(k) + len(v) + 4
	}
	sort.Slice(id.tags, func(i, j int) bool { return id.tags[i].key < id.tags[j].key })
	return id
}

// agrees says whether chunks of both may stand in one payload: v1.0, and the
// agent's statistics in any version, know one env and version a payload.
func (id *identity) agrees(other *identity) bool {
	return id == other || id.env == other.env && id.version == other.version
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

func resourceText(keys *keyTable, k *keyInfo, v attribute.Value) string {
	switch k.treat {
	case omit, keepTrace, dropTrace:
		return ""
	case secret:
		return redact.Placeholder
	case redactURL:
		return keys.redactor.URL(v.String())
	case redactText:
		return keys.redactor.Text(v.String())
	case redactArgs:
		return keys.redactor.Query(v.String())
	default:
		return v.String()
	}
}

// override marks in over the tag that has the key, and reports whether there is
// one.
func (id *identity) override(over []bool, key string) bool {
	if id.lengths&(1<<(len(key)&63)) == 0 {
		return false
	}
	for i := range id.tags {
		if id.tags[i].key == key {
			over[i] = true
			return true
		}
	}
	return false
}
