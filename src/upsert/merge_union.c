/*
 * merge_union.c
 *	  SQL: _idem_upsert_union(), which stands in upserts that merge by "union".
 *
 * What is equal, the default order of the elements' type says.  The elements
 * are sorted to find those that are equal, so that large arrays take n log n,
 * and returned in the order in which they came.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "table/row_to_jsonb.h"

PG_FUNCTION_INFO_V1(idem_upsert_union_array);
PG_FUNCTION_INFO_V1(idem_upsert_union_jsonb);

/* Elements, and how to compare them. */
typedef struct Elements
{
	int			count;
	int			most;			/* as many as there is space for */
	Datum	   *values;
	bool	   *nulls;
	TypeCacheEntry *type;
	Oid			collation;
} Elements;

/* Begins with no element; there will be at most so many. */
static void
init_elements(Elements *elements, int most, Oid type, Oid collation)
{
	elements->count = 0;
	elements->most = most;
	elements->values = palloc(sizeof(Datum) * (most + 1));
	elements->nulls = palloc(sizeof(bool) * (most + 1));
	elements->type = lookup_type_cache(type, TYPECACHE_CMP_PROC_FINFO);
	elements->collation = collation;
	if (!OidIsValid(elements->type->cmp_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify a comparison function for type %s",
						format_type_be(type))));
}

/* The order of two elements, without regard to which was first. */
static int
compare_values(const Elements *elements, int i, int j)
{
	if (elements->nulls[i] || elements->nulls[j])
		return (int) elements->nulls[i] - (int) elements->nulls[j];
	return DatumGetInt32(FunctionCall2Coll(&elements->type->cmp_proc_finfo,
										   elements->collation,
										   elements->values[i],
										   elements->values[j]));
}

static int
compare(const void *a, const void *b, void *arg)
{
	int			i = *(const int *) a;
	int			j = *(const int *) b;
	int			order = compare_values(arg, i, j);

	CHECK_FOR_INTERRUPTS();
	return order != 0 ? order : i - j;
}

/* Leaves the first of those that are equal. */
static void
make_distinct(Elements *elements)
{
	int		   *sorted = palloc(sizeof(int) * (elements->count + 1));
	bool	   *again = palloc0(sizeof(bool) * (elements->count + 1));
	int			count = 0;

	for (int i = 0; i < elements->count; i++)
		sorted[i] = i;
	qsort_arg(sorted, elements->count, sizeof(int), compare, elements);
	for (int i = 1; i < elements->count; i++)
		again[sorted[i]] = compare_values(elements, sorted[i - 1], sorted[i]) == 0;

	for (int i = 0; i < elements->count; i++)
	{
		if (again[i])
			continue;
		elements->values[count] = elements->values[i];
		elements->nulls[count++] = elements->nulls[i];
	}
	elements->count = count;
}

static void
add_array(Elements *elements, ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	int			count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot merge multidimensional arrays by \"union\"")));
	deconstruct_array(array, elements->type->type_id, elements->type->typlen,
					  elements->type->typbyval, elements->type->typalign,
					  &values, &nulls, &count);
	Assert(elements->count + count <= elements->most);
	memcpy(elements->values + elements->count, values, sizeof(Datum) * count);
	memcpy(elements->nulls + elements->count, nulls, sizeof(bool) * count);
	elements->count += count;
}

/*
 * Raises 42804 unless both are arrays of one type, and of the type that the call
 * knows, if it knows any.  The declaration does not see to that: as the
 * transition of an aggregate over anyarray, the function meets whatever arrays
 * there are, and int2vector counts as an array, but not every array as one.
 */
static void
check_arrays(FunctionCallInfo fcinfo, const ArrayType *old,
			 const ArrayType *new)
{
	Oid			element = ARR_ELEMTYPE(old ? old : new);

	if (old != NULL && new != NULL && ARR_ELEMTYPE(new) != element)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("cannot merge incompatible arrays"),
				 errdetail("The arrays have elements of types %s and %s.",
						   format_type_be(element),
						   format_type_be(ARR_ELEMTYPE(new)))));
	for (int i = 0; i < 2; i++)
	{
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, i);

		if (!OidIsValid(type) || type == ANYARRAYOID)
			continue;
		type = getBaseType(type);
		if (get_array_type(element) != type)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("cannot merge values of type %s as arrays",
							format_type_be(type)),
					 errdetail("The elements are of type %s.",
							   format_type_be(element))));
	}
}

/*
 * _idem_upsert_union(old anyarray, new anyarray) -> anyarray
 *
 * The elements of both, each once, those of old first, in their order.  A null
 * array has none; null if both are.  Raises 42804 for arrays of two types, and for
 * what is not quite an array, like int2vector.
 */
Datum
idem_upsert_union_array(PG_FUNCTION_ARGS)
{
	ArrayType  *old = PG_ARGISNULL(0) ? NULL : PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *new = PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1);
	Elements	elements;
	int			most = 0;
	int			lower_bound = 1;

	if (old == NULL && new == NULL)
		PG_RETURN_NULL();
	check_arrays(fcinfo, old, new);
	if (old != NULL)
		most += ArrayGetNItems(ARR_NDIM(old), ARR_DIMS(old));
	if (new != NULL)
		most += ArrayGetNItems(ARR_NDIM(new), ARR_DIMS(new));
	init_elements(&elements, most, ARR_ELEMTYPE(old ? old : new),
				  PG_GET_COLLATION());
	if (old != NULL)
		add_array(&elements, old);
	if (new != NULL)
		add_array(&elements, new);
	make_distinct(&elements);

	/* an array that nothing is added to stays as it is, in this, too */
	if (old != NULL && ARR_NDIM(old) == 1)
		lower_bound = ARR_LBOUND(old)[0];
	PG_RETURN_ARRAYTYPE_P(construct_md_array(elements.values, elements.nulls, 1,
											 &elements.count, &lower_bound,
											 elements.type->type_id,
											 elements.type->typlen,
											 elements.type->typbyval,
											 elements.type->typalign));
}

static bool
is_array(Jsonb *json)
{
	return JB_ROOT_IS_ARRAY(json) && !JB_ROOT_IS_SCALAR(json);
}

static void
add_jsonb(Elements *elements, Jsonb *array)
{
	JsonbIterator *it = JsonbIteratorInit(&array->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		Assert(elements->count < elements->most);
		elements->values[elements->count] = JsonbPGetDatum(JsonbValueToJsonb(&v));
		elements->nulls[elements->count++] = false;
	}
}

/* Is the value a JSON null, which is nothing to keep? */
static bool
is_null(Jsonb *json)
{
	JsonbValue	v;

	return JB_ROOT_IS_SCALAR(json) &&
		JsonbExtractScalar(&json->root, &v) && v.type == jbvNull;
}

static Datum
write_jsonb(const Elements *elements)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < elements->count; i++)
	{
		Jsonb	   *json = DatumGetJsonbP(elements->values[i]);

		appendStringInfoString(&buf, i ? ", " : "[");
		(void) JsonbToCString(&buf, &json->root, VARSIZE(json));
	}
	appendStringInfoString(&buf, elements->count ? "]" : "[]");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
}

/*
 * _idem_upsert_union(old jsonb, new jsonb) -> jsonb
 *
 * Of two objects the fields of both, new's where both have one; of two arrays
 * the elements of both, each once, those of old first, in their order.  One that
 * is null, of either kind, gives way.  Raises 42804 for anything else.
 */
Datum
idem_upsert_union_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb	   *old = PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0);
	Jsonb	   *new = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	Jsonb	   *base;
	Elements	elements;

	if (new == NULL || is_null(new))
	{
		if (old == NULL)
			PG_RETURN_NULL();
		PG_RETURN_JSONB_P(old);
	}
	base = (old == NULL || is_null(old)) ? new : old;

	if (JB_ROOT_IS_OBJECT(base) && JB_ROOT_IS_OBJECT(new))
		PG_RETURN_DATUM(DirectFunctionCall2(jsonb_concat,
											JsonbPGetDatum(base),
											JsonbPGetDatum(new)));
	if (!is_array(base) || !is_array(new))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("cannot merge these jsonb values by \"union\""),
				 base != new ?
				 errdetail("The row has one of type %s, the data one of type %s.",
						   idem_row_to_jsonb_type(base), idem_row_to_jsonb_type(new)) :
				 errdetail("The data has one of type %s.", idem_row_to_jsonb_type(new)),
				 errhint("The rule is for two objects or two arrays.")));

	init_elements(&elements, JB_ROOT_COUNT(base) + JB_ROOT_COUNT(new),
				  JSONBOID, InvalidOid);
	add_jsonb(&elements, base);
	if (base != new)
		add_jsonb(&elements, new);
	make_distinct(&elements);
	PG_RETURN_DATUM(write_jsonb(&elements));
}
