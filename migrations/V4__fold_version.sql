-- Which build's fold the rows are of, so that rows made by an older one are known as such and are
-- folded anew. Adds only: a build that knows V3 alone goes on as before, and it shows: it moves a
-- position without writing here.

ALTER TABLE positions
    -- The oldest fold that rows of this stream were made by; 0 is one that did not say.
    ADD COLUMN fold_version  integer NOT NULL DEFAULT 0,
    -- Equal to `moved_at`, unless the position was moved last by a build that does not write this.
    ADD COLUMN fold_moved_at timestamptz;
