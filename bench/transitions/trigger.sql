-- The lifecycle and the version, kept by a trigger as one would write it.
CREATE FUNCTION order_lifecycle() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.status <> OLD.status AND NOT (
		OLD.status = 'PENDING' AND NEW.status = 'PROCESSING' OR
		OLD.status = 'PROCESSING' AND NEW.status = 'SHIPPED' OR
		OLD.status = 'SHIPPED' AND NEW.status = 'DELIVERED')
	THEN
		RAISE EXCEPTION 'transition from % to % is not allowed', OLD.status, NEW.status;
	END IF;
	NEW.version := OLD.version + 1;
	RETURN NEW;
END;
$$;
CREATE TRIGGER order_lifecycle BEFORE UPDATE ON orders
	FOR EACH ROW EXECUTE FUNCTION order_lifecycle();
